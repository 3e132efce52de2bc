"""The function in Python, tuned: one BatchGetItem for a batch's users, every wave scored as one matrix, conditional writes 25 to a call.

A contender of `bench/run`. A user's item is replaced only if it is the one that was read, and remembers its newest transactions, so that
each is decided once as long as it is remembered; a lost race is delivered again.
"""

import base64
import os
import pathlib

import boto3
import confluent_kafka
import numpy
import onnxruntime
import orjson
from botocore.config import Config

import runtime
from features import State

KEYS_PER_CALL = 100
STATEMENTS_PER_CALL = 25
FLUSH_S = 4.0

MODEL = pathlib.Path(os.environ["BENCH_MODEL_DIRECTORY"])
TABLE = os.environ["USER_TABLE"]
TOPICS = {"APPROVED": os.environ["APPROVED_TOPIC"], "BLOCKED": os.environ["BLOCKED_TOPIC"]}
INSERT = f"INSERT INTO \"{TABLE}\" VALUE {{'pk':?,'v':?,'s':?}}"
UPDATE = f'UPDATE "{TABLE}" SET v=? SET s=? WHERE pk=? AND v=?'


class Function:
    """The clients and the model, made once."""

    def __init__(self):
        # What a tuned client leaves out: checks of its own caller, and retries that the mapping does anyway.
        settings = Config(parameter_validation=False, retries={"max_attempts": 1}, tcp_keepalive=True)
        self.dynamodb = boto3.client("dynamodb", config=settings)
        self.producer = confluent_kafka.Producer(
            {"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP"], "acks": "all", "linger.ms": 1})
        manifest = orjson.loads((MODEL / "manifest.json").read_bytes())
        self.columns = {name: place for place, name in enumerate(manifest["features"])}
        self.block_above = manifest["thresholds"]["block_above"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(MODEL / "model.onnx"), options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        # The first call opens the connection.
        self.dynamodb.get_item(TableName=TABLE, Key={"pk": {"S": "nobody"}})

    def handle(self, event):
        records = sorted((record for records in event["records"].values() for record in records),
                         key=lambda record: (record["topic"], record["partition"], record["offset"]))
        by_user = {}
        for record in records:
            transaction = orjson.loads(base64.b64decode(record["value"]))
            transaction["amount"] = float(transaction["amount"])
            by_user.setdefault(transaction["user_id"], []).append((record, transaction))
        versions, states = self.read(list(by_user))
        answers = self.decide(by_user, states)
        lost = self.write(versions, {user: states[user] for user in by_user})
        return {"batchItemFailures": self.publish(by_user, answers, lost)}

    def read(self, users):
        versions, states = dict.fromkeys(users), {user: State() for user in users}
        for first in range(0, len(users), KEYS_PER_CALL):
            asked = {TABLE: {"Keys": [{"pk": {"S": user}} for user in users[first:first + KEYS_PER_CALL]]}}
            while asked:
                answer = self.dynamodb.batch_get_item(RequestItems=asked)
                for item in answer["Responses"].get(TABLE, []):
                    user = item["pk"]["S"]
                    versions[user], states[user] = int(item["v"]["N"]), State(item["s"]["B"])
                asked = answer.get("UnprocessedKeys")
        return versions, states

    def decide(self, by_user, states):
        """A user's second transaction sees the first, so they go in waves; each wave is one matrix."""
        answers, waiting = {}, {user: list(transactions) for user, transactions in by_user.items()}
        while waiting:
            wave = []
            for user in list(waiting):
                _, transaction = waiting[user].pop(0)
                if not waiting[user]:
                    del waiting[user]
                known = states[user].answer(transaction["transaction_id"])
                if known is None:
                    wave.append(transaction)
                else:
                    answers[transaction["transaction_id"]] = (known, None)
            if not wave:
                continue
            rows = numpy.full((len(wave), len(self.columns)), numpy.nan, dtype=numpy.float32)
            for row, transaction in zip(rows, wave):
                states[transaction["user_id"]].fill(row, self.columns, transaction)
            scores = self.session.run(["probabilities"], {self.input: rows})[0][:, 1].tolist()
            for transaction, score in zip(wave, scores):
                outcome = "BLOCKED" if score > self.block_above else "APPROVED"
                states[transaction["user_id"]].apply(transaction, outcome)
                answers[transaction["transaction_id"]] = (outcome, score)
        return answers

    def write(self, versions, states):
        """Returns the users whose item was changed by somebody else meanwhile."""
        users, lost = list(states), set()
        for first in range(0, len(users), STATEMENTS_PER_CALL):
            some = users[first:first + STATEMENTS_PER_CALL]
            statements = [statement(user, versions[user], states[user].stored()) for user in some]
            answer = self.dynamodb.batch_execute_statement(Statements=statements)
            for user, response in zip(some, answer["Responses"]):
                if "Error" in response:
                    lost.add(user)
        return lost

    def publish(self, by_user, answers, lost):
        """Publishes the answers and returns the records that are to be delivered again."""
        failures, refused = {}, []
        for user, transactions in by_user.items():
            for record, transaction in transactions:
                if user in lost:
                    key = f"{record['topic']}-{record['partition']}"
                    failures[key] = min(failures.get(key, record["offset"]), record["offset"])
                    continue
                outcome, score = answers[transaction["transaction_id"]]
                payload = {"version": 1, "transaction_id": transaction["transaction_id"], "user_id": user,
                           "decision": outcome, "score": score}
                self.producer.produce(TOPICS[outcome], orjson.dumps(payload), key=transaction["transaction_id"],
                                      on_delivery=lambda problem, _: refused.append(problem) if problem else None)
        if self.producer.flush(FLUSH_S) or refused:
            raise RuntimeError(f"decisions were not acknowledged: {refused[:1]}")
        return [{"itemIdentifier": {"partition": key, "offset": offset}} for key, offset in failures.items()]


def statement(user, version, stored):
    key, content = {"S": user}, {"B": stored}
    if version is None:
        return {"Statement": INSERT, "Parameters": [key, {"N": "1"}, content]}
    parameters = [{"N": str(version + 1)}, content, key, {"N": str(version)}]
    return {"Statement": UPDATE, "Parameters": parameters}


if __name__ == "__main__":
    runtime.serve(Function().handle)
