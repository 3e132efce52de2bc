"""Reads with boto3 what is known about a user: the item, the decisions on the stream, and which buckets there are.

    python look_inside.py endpoints.json USER_ID
"""

import json
import sys

import boto3
from botocore.config import Config

endpoints, user_id = json.load(open(sys.argv[1])), sys.argv[2]


def client(service, **options):
    return boto3.client(
        service,
        endpoint_url=endpoints[service],
        region_name=endpoints["region"],
        aws_access_key_id=endpoints["access_key_id"],
        aws_secret_access_key=endpoints["secret_access_key"],
        **options,
    )


item = client("dynamodb").get_item(TableName="user_state", Key={"pk": {"S": user_id}}, ConsistentRead=True).get("Item")

kinesis, decisions = client("kinesis"), []
for shard in kinesis.list_shards(StreamName="decisions")["Shards"]:
    iterator = kinesis.get_shard_iterator(
        StreamName="decisions", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    behind_ms = None
    while iterator and behind_ms != 0:
        page = kinesis.get_records(ShardIterator=iterator)
        iterator, behind_ms = page.get("NextShardIterator"), page["MillisBehindLatest"]
        decisions += [json.loads(record["Data"]) for record in page["Records"]]

buckets = client("s3", config=Config(s3={"addressing_style": "path"})).list_buckets()["Buckets"]

print(json.dumps({
    "item": item and {"version": int(item["v"]["N"]), "bytes": len(item["s"]["B"])},
    "decisions": [decision for decision in decisions if decision["user_id"] == user_id],
    "buckets": [bucket["Name"] for bucket in buckets],
}))
