"""Sends one transaction with confluent-kafka and prints its decision.

    python decide_one.py endpoints.json [USER_ID [COMPRESSION]]

COMPRESSION is none, gzip, snappy, lz4 or zstd. endpoints.json is what `centinela up --endpoints endpoints.json` writes.
"""

import json
import sys
import time
import uuid

from confluent_kafka import Consumer, Producer, TopicPartition

endpoints = json.load(open(sys.argv[1]))
user_id = sys.argv[2] if len(sys.argv) > 2 else "user-of-python"
compression = sys.argv[3] if len(sys.argv) > 3 else "none"
transaction = {
    "version": 1,
    "transaction_id": str(uuid.uuid4()),
    "timestamp": int(time.time() * 1000),
    "user_id": user_id,
    "amount": "42.50",
    "currency": "EUR",
    "device_type": "mobile",
    "device_id": f"device-of-{user_id}",
    "ip": "203.0.113.7",
    "user_agent": "decide_one.py",
}

consumer = Consumer({"bootstrap.servers": endpoints["kafka"], "group.id": "decide-one"})
topics = consumer.list_topics(timeout=10).topics
consumer.assign([
    # The end as it is now, so that what is sent next cannot be missed.
    TopicPartition(topic, partition, consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1])
    for topic in ("approved", "blocked")
    for partition in topics[topic].partitions
])


def refused(error, message):
    if error:
        sys.exit(f"the transaction was not sent: {error}")


producer = Producer({
    "bootstrap.servers": endpoints["kafka"],
    "enable.idempotence": True,
    "linger.ms": 0,
    "compression.type": compression,
})
sent_at = time.monotonic()
producer.produce("transactions", key=transaction["transaction_id"], value=json.dumps(transaction), on_delivery=refused)
producer.flush(10)

while time.monotonic() < sent_at + 30:
    message = consumer.poll(0.1)
    if message is None:
        continue
    if message.error():
        sys.exit(f"the decision cannot be read: {message.error()}")
    decision = json.loads(message.value())
    if decision["transaction_id"] == transaction["transaction_id"]:
        print(json.dumps({"topic": message.topic(), **decision}))
        consumer.close()
        sys.exit(0)
sys.exit("no decision within 30 s")
