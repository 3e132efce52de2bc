"""What labels must have made of the features of later transactions, computed from the lake and from nothing else.

    centinela query label_features.sql --format json --lake DIR | python label_features.py

It shares no code with the functions: a transaction's latest label stands (of one time the stronger, then the greater id), it counts on
the day (UTC) on which it became known, for its user and for its device, and a feature counts the newest days up to the transaction's. Of
each user and device 32 days are known one by one, up to the newest that ever had a label: a transaction that is weeks late sees less.
Exit code 1 when a number differs.
"""

import json
import struct
import sys
from collections import Counter, defaultdict

DAY_MS = 86_400_000
#: A producer's time further ahead of the broker's than this is not believed.
AHEAD_MS = 5 * 60_000
STRENGTH = ["refund", "chargeback", "confirmed_good", "confirmed_fraud"]
DAYS_KEPT = 32
FRAUD = {"chargeback": True, "confirmed_fraud": True, "confirmed_good": False}


def single(number):
    """The nearest number of 32 bits, which is what a decision keeps."""
    return None if number is None else struct.unpack("f", struct.pack("f", number))[0]


def standing(labels):
    """The label that stands of every labelled transaction, with its device; and the newest day of every label that ever stood."""
    latest, devices, newest = {}, {}, defaultdict(int)
    for row in sorted(labels, key=lambda row: row["arrived_ms"]):
        transaction = (row["user_id"], row["transaction_id"])
        if row["device_id"] is not None:
            devices[transaction] = row["device_id"]
        known_at = row["arrived_ms"] if row["at_ms"] - row["arrived_ms"] > AHEAD_MS else row["at_ms"]
        order = (known_at, STRENGTH.index(row["verdict"]), row["event_id"])
        if transaction in latest and latest[transaction][0] >= order:
            continue
        day = known_at // DAY_MS
        latest[transaction] = (order, row["verdict"], day)
        if row["verdict"] in FRAUD:
            for whose in (("user", row["user_id"]), ("device", devices[transaction])):
                newest[whose] = max(newest[whose], day)
    return [(user, devices[user, id], verdict, day) for (user, id), (_, verdict, day) in latest.items()], newest


def computed(days, today):
    """All features of one user's or one device's labels, by the end of their names."""
    frauds = {n: sum(c for (day, fraud), c in days.items() if fraud and 0 <= today - day < n) for n in (1, 7, 30)}
    labels = {n: sum(c for (day, _), c in days.items() if 0 <= today - day < n) for n in (1, 7, 30)}
    ages = [today - day for (day, fraud), count in days.items() if fraud and count and day <= today]
    wanted = {f"frauds_{n}d": frauds[n] for n in frauds} | {f"labels_{n}d": labels[n] for n in labels}
    wanted |= {f"risk_{n}d": frauds[n] / (labels[n] + 0.5) for n in frauds}
    return wanted | {"fraud_days": min(ages, default=None)}


def main():
    rows = json.load(sys.stdin)
    labels = [row for row in rows if row["what"] == "label"]
    counts = defaultdict(Counter)
    labelled, newest = standing(labels)
    for user, device, verdict, day in labelled:
        for whose in (("user", user), ("device", device)):
            if verdict in FRAUD and day > newest[whose] - DAYS_KEPT:
                counts[whose][day, FRAUD[verdict]] += 1
    differences, above_zero = [], 0
    features = [row for row in rows if row["what"] == "feature"]
    for row in features:
        whose, name = row["feature"].split("_", 1)
        days = counts[whose, row[f"{whose}_id"]]
        wanted = single(computed(days, row["at_ms"] // DAY_MS)[name])
        found = single(row["number"])
        above_zero += bool(wanted)
        if wanted != found:
            differences.append(f"{row['transaction_id']} {row['feature']}: {found}, and it is {wanted}")
    transactions = len({row["transaction_id"] for row in features})
    print(f"{len(labels)} labels, {transactions} later transactions, {len(features)} features ({above_zero} above zero), {len(differences)} differ")
    for difference in differences[:10]:
        print(difference, file=sys.stderr)
    sys.exit(1 if differences or not above_zero else 0)


if __name__ == "__main__":
    main()
