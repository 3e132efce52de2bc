"""A small world with everything that the questions ask about, as plain records: what producers sent, what was decided, what came later.

Drawn from a seed, and the same on every machine. It knows nothing of SQL; `answers.py` answers the questions from these records, and
`lake.py` writes them as the files that DuckDB reads.
"""

import random
from datetime import datetime, timedelta, timezone

START = datetime(2026, 11, 27, 22, 58, tzinfo=timezone.utc)
USERS = [f"u-{n:02}" for n in range(24)]
DEVICES = [f"d-{n:02}" for n in range(14)]
TYPES = ["mobile", "desktop", "pos"]
MERCHANTS = ["m-1", "m-2", None]
CODES = ["AMOUNT_UNUSUAL", "NEW_DEVICE", "DEVICE_SHARED", "USER_VELOCITY", "TIME_OF_DAY"]
FEATURES = 38


def ms(count):
    return timedelta(milliseconds=count)


class World:
    """All records, each a dictionary with `topic`, `partition`, `offset`, `broker_time` and its table's columns."""

    def __init__(self, seed=7):
        self.random = random.Random(seed)
        self.offsets = {}
        self.records = {name: [] for name in ("transactions", "user_actions", "events", "approved", "blocked", "dead_letters")}
        self.states = {}
        self.newest = {}
        self.device_type = {device: self.random.choice(TYPES) for device in DEVICES}
        now = START
        for number in range(420):
            now += ms(self.random.randrange(5_000, 29_000))
            if number % 3 == 0:
                self.act(now, number)
            self.buy(now, number)
        self.label(now)
        self.spoil(now)

    def put(self, table, partitions, broker_time, **columns):
        partition = self.random.randrange(partitions)
        offset = self.offsets.get((table, partition), 0)
        self.offsets[(table, partition)] = offset + 1
        record = dict(partition=partition, offset=offset, broker_time=broker_time, problem=None, value=None, **columns)
        self.records[table].append(record)
        return record

    def act(self, now, number):
        chance = self.random
        user = chance.choice(USERS)
        action = chance.choice(["logged_in"] * 6 + ["password_changed", "email_changed", "device_added", "profile_changed"])
        outcome = chance.choice(["success", "failure"]) if action == "logged_in" else None
        columns = dict(action_id=f"a-{number}", user_id=user, event_time=now - ms(chance.randrange(900)), action=action, outcome=outcome)
        columns["device_id"] = chance.choice(DEVICES + [None])
        columns["network"] = f"{chance.randrange(4):08x}"
        columns["email_hash"] = "ab" * 8 if action == "email_changed" else None
        columns["phone_hash"] = columns["address_hash"] = None
        first = self.put("user_actions", 4, now, **columns)
        if number % 60 == 0:
            self.put("user_actions", 4, now + ms(40), **{name: first[name] for name in columns})

    def buy(self, now, number):
        chance = self.random
        user = chance.choice(USERS[: 8 + number // 20])
        device = chance.choice(DEVICES)
        event_time = now - ms(chance.randrange(1500))
        if number % 23 == 5:
            event_time -= timedelta(minutes=chance.randrange(5, 90))
        late, ahead = number % 97 == 40, number % 101 == 50
        if late:
            event_time -= timedelta(days=3)
        if ahead:
            event_time += timedelta(hours=30)
        columns = dict(
            transaction_id=f"t-{number}", user_id=user, event_time=event_time, amount_minor=chance.randrange(100, 90_000),
            currency=chance.choice(["USD", "USD", "USD", "EUR", "JPY"]), device_type=self.device_type[device], device_id=device,
            network=f"{chance.randrange(6):08x}", agent="a1", merchant_id=chance.choice(MERCHANTS),
        )
        first = self.put("transactions", 5, now, **columns)
        if number % 50 == 7:
            self.put("transactions", 5, now + ms(250), **columns)
        if number % 140 == 9:
            self.put("transactions", 5, now + ms(400), **{**columns, "amount_minor": columns["amount_minor"] + 1})
        if number % 205 != 11:
            self.decide(first, number, late, ahead)

    def decide(self, bought, number, late, ahead):
        chance = self.random
        score = float(f"{chance.random() ** 3:.6f}3")  # never half way between two roundings
        guarded = 200 <= number < 230
        blocked = score > 0.8 and not guarded
        user = bought["user_id"]
        self.states[user] = self.states.get(user, 0) + 1
        decided_at = bought["broker_time"] + ms(chance.choice([18, 25, 40, 90, 140, 620]) + number % 7)
        codes = chance.sample(CODES, chance.randrange(0, 4))
        weights = sorted((round(chance.random() * 3, 3) for _ in codes), reverse=True)
        features = [None if chance.random() < 0.1 else float(f"{chance.random() * 100:.3f}") for _ in range(FEATURES)]
        degraded = number % 71 == 3
        columns = dict(
            decision_id=f"{number:032x}", transaction_id=bought["transaction_id"], user_id=user,
            outcome="BLOCKED" if blocked else "APPROVED", score=score, amount_minor=bought["amount_minor"],
            currency=bought["currency"], reasons=[dict(code=c, contribution=w) for c, w in zip(codes, weights)],
            model_version="v1" if number < 250 else "v2", model_digest="00" * 8 if number < 250 else "11" * 8,
            features_version=1, features=features, state_version=self.states[user], event_time=bought["event_time"],
            ingested_at=bought["broker_time"], decided_at=decided_at, late=late, ahead=ahead, degraded=degraded,
            guarded=guarded, missing=["device"] if degraded else [], reduced=False,
        )
        table = "blocked" if blocked else "approved"
        self.put(table, 3, decided_at + ms(4), **columns)
        if number % 61 == 2:
            self.put(table, 3, decided_at + ms(900), **columns)
        if number % 190 == 4:
            gone = {name: None for name in columns}
            kept = ("decision_id", "transaction_id", "user_id", "outcome", "score")
            self.put(table, 3, decided_at + ms(5000), **{**gone, **{name: columns[name] for name in kept}, "reduced": True})

    def label(self, now):
        chance = self.random
        decided = [record for table in ("approved", "blocked") for record in self.records[table] if not record["reduced"]]
        decided.sort(key=lambda record: record["decision_id"])
        for number, record in enumerate(decided):
            if chance.random() > 0.55:
                continue
            now += ms(chance.randrange(200, 900))
            bad = chance.random() < 0.2 + 0.6 * record["score"]
            kind = chance.choice(["chargeback", "confirmed_fraud"] if bad else ["confirmed_good", "confirmed_good", "refund"])
            self.say(now, f"e-{number}", kind, record, record["event_time"] + timedelta(hours=chance.randrange(2, 900)))
            if number % 9 == 0:
                self.say(now + ms(60), f"e-{number}b", chance.choice(["confirmed_good", "confirmed_fraud"]), record, None)
            if number % 31 == 0:
                self.say(now + ms(90), f"e-{number}c", "delivery_note", record, None)

    def say(self, now, event_id, kind, record, event_time):
        """A label; without a time of its own, at the same moment as the one before it."""
        event_time = event_time or self.records["events"][-1]["event_time"]
        user = None if event_id.endswith("7") else record["user_id"]
        self.put("events", 2, now, event_id=event_id, event_time=event_time, event=kind, user_id=user,
                 transaction_id=record["transaction_id"], device_id=None)

    def spoil(self, now):
        """What could not be decided or read."""
        for number in range(12):
            now += ms(700)
            columns = dict(reason=["not_json", "missing_field", "wrong_type"][number % 3],
                           source_topic=["transactions", "user_actions"][number % 2], source_partition=1, source_offset=9_000 + number,
                           source_time=now - ms(50), detail=f"example {number % 3}", original=b"{")
            self.put("dead_letters", 2, now, **columns)
            if number % 5 == 0:
                self.put("dead_letters", 2, now + ms(20), **columns)
        for table in ("transactions", "approved"):
            columns = {name: None for name in self.records[table][0] if name not in ("partition", "offset", "broker_time", "problem", "value")}
            record = self.put(table, 2, now, **columns)
            record["problem"], record["value"] = "not_json", b"\xff\x00"
