#!/bin/sh
# Sends one transaction with Kafka's console producer and prints its decision with the console consumer.
#   CENTINELA_KAFKA_LIB=/opt/kafka/libs sh with_kafka_tools.sh 127.0.0.1:9092 TRANSACTION_ID
set -eu
kafka="$1"
id="$2"
now_ms="$(date +%s)000"
tool() { java -Xmx256m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$CENTINELA_KAFKA_LIB/*" "$@"; }

printf '%s\n' "{\"transaction_id\":\"$id\",\"timestamp\":$now_ms,\"user_id\":\"user-of-kafka\",\"amount\":\"42.50\",\"currency\":\"EUR\",\"device_type\":\"mobile\",\"device_id\":\"device-1\",\"ip\":\"203.0.113.7\",\"user_agent\":\"console\"}" |
  tool org.apache.kafka.tools.ConsoleProducer --bootstrap-server "$kafka" --topic transactions

tries=0
while [ "$tries" -lt 10 ]; do
  for topic in approved blocked; do
    # It ends when nothing came for so long, which is no failure here.
    found="$(tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$kafka" --topic "$topic" \
      --from-beginning --timeout-ms 5000 || true)"
    if printf '%s\n' "$found" | grep -F "\"transaction_id\":\"$id\""; then
      exit 0
    fi
  done
  tries=$((tries + 1))
done
echo "no decision on $id" >&2
exit 1
