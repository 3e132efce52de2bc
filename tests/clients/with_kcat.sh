#!/bin/sh
# Sends one transaction with kcat and prints its decision.
#   sh with_kcat.sh 127.0.0.1:9092 TRANSACTION_ID
set -eu
kafka="$1"
id="$2"
now_ms="$(date +%s)000"

printf '%s\n' "{\"transaction_id\":\"$id\",\"timestamp\":$now_ms,\"user_id\":\"user-of-kcat\",\"amount\":\"42.50\",\"currency\":\"EUR\",\"device_type\":\"mobile\",\"device_id\":\"device-1\",\"ip\":\"203.0.113.7\",\"user_agent\":\"kcat\"}" |
  kcat -b "$kafka" -P -t transactions

tries=0
while [ "$tries" -lt 100 ]; do
  for topic in approved blocked; do
    # -e: to the end of the topic and no further.
    if kcat -q -b "$kafka" -C -t "$topic" -o beginning -e | grep -F "\"transaction_id\":\"$id\""; then
      exit 0
    fi
  done
  tries=$((tries + 1))
done
echo "no decision on $id" >&2
exit 1
