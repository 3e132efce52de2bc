"""The answers to the ready questions, computed from the small world's records in plain Python: no SQL, and none of its words."""

from collections import Counter, defaultdict
from datetime import timedelta
from math import copysign, floor
from statistics import mean, stdev

GRAVITY = {"confirmed_fraud": 4, "confirmed_good": 3, "chargeback": 2, "refund": 1}
CHANGES = ("password_changed", "email_changed", "phone_changed", "address_changed")


def rounded(number, digits):
    """Half way goes away from zero, as in SQL; Python's own goes to the even digit."""
    return copysign(floor(abs(number) * 10**digits + 0.5) / 10**digits, number)


def minute(time):
    return time.replace(second=0, microsecond=0)


def hour(time):
    return minute(time).replace(minute=0)


def milliseconds(earlier, later):
    return (later - earlier) // timedelta(milliseconds=1)


def percent(part, whole, digits=2):
    return rounded(100 * part / whole, digits) if whole else None


def count(rows, **wanted):
    return sum(all(row[name] == value for name, value in wanted.items()) for row in rows)


class Facts:
    """What the records say once repetitions are left out."""

    def __init__(self, world):
        self.records = world.records
        published = [row for table in ("approved", "blocked") for row in world.records[table] if row["decision_id"]]
        self.published = [row for row in published if not row["reduced"]]
        self.decided = list({row["decision_id"]: row for row in self.published}.values())
        self.sent = [row for row in world.records["transactions"] if row["problem"] is None]
        self.bought = {}
        for row in sorted(self.sent, key=lambda row: row["offset"]):
            self.bought.setdefault((row["user_id"], row["transaction_id"]), row)
        self.by_key = {(row["user_id"], row["transaction_id"]): row for row in self.decided}
        self.labels()

    def labels(self):
        """The label that stands for each decision."""
        standing = {}
        self.labelled_events = []
        for event in self.records["events"]:
            of = [d for d in self.decided if d["transaction_id"] == event["transaction_id"]]
            of = [d for d in of if event["user_id"] in (None, d["user_id"])]
            for decision in of:
                self.labelled_events.append((event, decision))
                if event["event"] in GRAVITY:
                    rank = (event["event_time"], GRAVITY[event["event"]], event["event_id"])
                    if decision["decision_id"] not in standing or rank > standing[decision["decision_id"]][0]:
                        standing[decision["decision_id"]] = (rank, event["event"])
        verdict = {name: kind for name, (_, kind) in standing.items()}
        for row in self.decided:
            kind = verdict.get(row["decision_id"])
            row["fraud"] = kind in ("chargeback", "confirmed_fraud")
            row["good"] = kind == "confirmed_good"
            row["labelled"] = kind is not None
            row["stopped"] = row["outcome"] == "BLOCKED"


def grouped(rows, key):
    groups = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return sorted(groups.items(), key=lambda item: item[0])


def money(rows):
    return sum(row["amount_minor"] for row in rows)


def rightness(rows):
    caught = count(rows, stopped=True, fraud=True)
    known = sum(row["stopped"] and (row["fraud"] or row["good"]) for row in rows)
    return dict(precision_percent=percent(caught, known), recall_percent=percent(caught, count(rows, fraud=True)))


def block_rate(facts):
    kind = lambda row: facts.bought[row["user_id"], row["transaction_id"]]["device_type"]
    return [
        dict(decided_hour=at, device_type=device, decisions=len(rows), blocked=count(rows, stopped=True),
             blocked_percent=percent(count(rows, stopped=True), len(rows)))
        for (at, device), rows in grouped(facts.decided, lambda row: (hour(row["decided_at"]), kind(row)))
    ]


def precision_and_savings(facts):
    answer = [
        dict(currency=currency, decisions=len(rows), labelled=count(rows, labelled=True),
             fraud_blocked=count(rows, stopped=True, fraud=True), good_blocked=count(rows, stopped=True, good=True),
             fraud_approved=count(rows, stopped=False, fraud=True), **rightness(rows),
             saved_minor=money(row for row in rows if row["stopped"] and row["fraud"]),
             good_blocked_minor=money(row for row in rows if row["stopped"] and row["good"]),
             lost_minor=money(row for row in rows if not row["stopped"] and row["fraud"]))
        for currency, rows in grouped(facts.decided, lambda row: row["currency"])
    ]
    return sorted(answer, key=lambda row: (-row["decisions"], row["currency"]))


def top_reasons(facts):
    listed = [dict(code=reason["code"], weight=reason["contribution"], stopped=row["stopped"], first=place == 0)
              for row in facts.decided for place, reason in enumerate(row["reasons"])]
    answer = [
        dict(code=code, decisions=len(rows), blocked=count(rows, stopped=True), as_first_reason=count(rows, first=True),
             mean_contribution=rounded(mean(row["weight"] for row in rows), 3))
        for code, rows in grouped(listed, lambda row: row["code"])
    ]
    return sorted(answer, key=lambda row: (-row["blocked"], -row["decisions"], row["code"]))


def most_blocked_users(facts):
    answer = []
    for user, rows in grouped(facts.decided, lambda row: row["user_id"]):
        stopped = [row for row in rows if row["stopped"]]
        if stopped:
            answer.append(dict(user_id=user, decisions=len(rows), blocked=len(stopped), blocked_percent=percent(len(stopped), len(rows), 1),
                               mean_score=rounded(mean(row["score"] for row in rows), 3),
                               last_blocked_at=max(row["decided_at"] for row in stopped)))
    return sorted(answer, key=lambda row: (-row["blocked"], -row["decisions"], row["user_id"]))[:20]


def device_users(facts):
    users = {device: len({row["user_id"] for row in rows}) for device, rows in grouped(facts.sent, lambda row: row["device_id"])}
    device = min(users, key=lambda device: (-users[device], device))
    answer = []
    for user, rows in grouped((row for row in facts.sent if row["device_id"] == device), lambda row: row["user_id"]):
        bought = {row["transaction_id"] for row in rows}
        stopped = [facts.by_key.get((user, name), {}).get("stopped", False) for name in bought]
        answer.append(dict(device_id=device, user_id=user, device_type=rows[0]["device_type"], transactions=len(bought), blocked=sum(stopped),
                           first_used_at=min(row["event_time"] for row in rows), last_used_at=max(row["event_time"] for row in rows)))
    return sorted(answer, key=lambda row: (-row["transactions"], row["user_id"]))


def shared_devices(facts):
    answer = []
    for device, rows in grouped(facts.bought.values(), lambda row: row["device_id"]):
        stopped = sum(facts.by_key.get((row["user_id"], row["transaction_id"]), {}).get("stopped", False) for row in rows)
        answer.append(dict(device_id=device, device_type=rows[0]["device_type"], users=len({row["user_id"] for row in rows}),
                           transactions=len(rows), blocked=stopped, blocked_percent=percent(stopped, len(rows), 1)))
    return sorted((row for row in answer if row["users"] >= 3), key=lambda row: (-row["users"], -row["transactions"], row["device_id"]))[:50]


def late_events(facts):
    answer = []
    for at, rows in grouped(facts.decided, lambda row: hour(row["ingested_at"])):
        late, ahead = [row for row in rows if row["late"]], [row for row in rows if row["ahead"]]
        behind = [milliseconds(row["event_time"], row["ingested_at"]) / 3_600_000 for row in late]
        before = [milliseconds(row["ingested_at"], row["event_time"]) / 3_600_000 for row in ahead]
        answer.append(dict(ingested_hour=at, decisions=len(rows), late=len(late), ahead=len(ahead), late_blocked=count(late, stopped=True),
                           farthest_behind_hours=rounded(max(behind), 1) if behind else None,
                           farthest_ahead_hours=rounded(max(before), 1) if before else None))
    return answer


def latency(facts):
    """Without percentiles: both dialects only estimate them, and `analysts.rs` checks that they lie where they must."""
    answer = []
    for at, rows in grouped(facts.decided, lambda row: minute(row["ingested_at"])):
        took = [milliseconds(row["ingested_at"], row["decided_at"]) for row in rows]
        answer.append(dict(ingested_minute=at, decisions=len(rows), mean_ms=rounded(mean(took), 1), max_ms=max(took),
                           above_limit=sum(time > 500 for time in took)))
    return answer


def other_threshold(facts):
    rows = [row for row in facts.decided if row["currency"] == "USD"]
    answer = []
    for threshold in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95):
        above, below = [row for row in rows if row["score"] > threshold], [row for row in rows if row["score"] <= threshold]
        answer.append(dict(threshold=threshold, would_block=len(above), would_block_percent=percent(len(above), len(rows)),
                           fraud_blocked=count(above, fraud=True), good_blocked=count(above, good=True), fraud_approved=count(below, fraud=True),
                           saved_minor=money(row for row in above if row["fraud"]), good_blocked_minor=money(row for row in above if row["good"]),
                           lost_minor=money(row for row in below if row["fraud"])))
    return answer


def calibration(facts):
    return [
        dict(score_from=band / 10, decisions=len(rows), blocked=count(rows, stopped=True), fraud=count(rows, fraud=True),
             good=count(rows, good=True), mean_score=rounded(mean(row["score"] for row in rows), 4),
             fraud_share_of_labelled=share(count(rows, fraud=True), count(rows, fraud=True) + count(rows, good=True)))
        for band, rows in grouped(facts.decided, lambda row: min(int(row["score"] * 10), 9))
    ]


def share(part, whole):
    return rounded(part / whole, 4) if whole else None


def feature_drift(facts):
    answer, before = [], None
    for day, rows in grouped(facts.decided, lambda row: row["decided_at"].date()):
        numbers = [row["features"][0] for row in rows if row["features"][0] is not None]
        answer.append(dict(decided_day=str(day), features_version=1, decisions=len(rows),
                           missing_percent=percent(len(rows) - len(numbers), len(rows)), mean=rounded(mean(numbers), 4),
                           deviation=rounded(stdev(numbers), 4), smallest=min(numbers), largest=max(numbers),
                           mean_moved=None if before is None else rounded(mean(numbers) - before, 4)))
        before = mean(numbers)
    return answer


def lag_history(facts):
    arrived, answered = (Counter(minute(row[name]) for row in facts.decided) for name in ("ingested_at", "decided_at"))
    answer, waiting = [], 0
    for at in sorted({*arrived, *answered}):
        waiting += arrived[at] - answered[at]
        answer.append(dict(happened_minute=at, arrived=arrived[at], answered=answered[at], waiting=waiting, above_limit=False))
    return answer


def user_story(facts):
    user = max((row for row in facts.decided if row["stopped"]), key=lambda row: row["decided_at"])["user_id"]
    story = []
    tables = (("user_actions", "action", "event_time", "action_id"), ("transactions", "transaction", "event_time", "transaction_id"),
              ("approved", "decision", "decided_at", "transaction_id"), ("blocked", "decision", "decided_at", "transaction_id"),
              ("events", "label", "event_time", "transaction_id"))
    for table, what, time, name in tables:
        for row in facts.records[table]:
            if row["user_id"] == user:
                story.append((row["broker_time"], row[time], what, row[name]))
    story.sort(key=lambda row: (row[0], row[1] is None, row[1] or row[0], row[2], row[3]))
    return [dict(happened_at=happened, arrived_at=arrived, what=what, id=name) for arrived, happened, what, name in story]


def order_changed(facts):
    answer = []
    for user, rows in grouped(facts.decided, lambda row: row["user_id"]):
        newest = None
        for row in sorted(rows, key=lambda row: row["state_version"]):
            counted_at = row["ingested_at"] if row["ahead"] else row["event_time"]
            if newest and counted_at < newest:
                answer.append(dict(user_id=user, transaction_id=row["transaction_id"], outcome=row["outcome"], score=rounded(row["score"], 4),
                                   event_time=row["event_time"], newest_decided_before=newest,
                                   seconds_out_of_order=milliseconds(counted_at, newest) / 1000, late=row["late"], decided_at=row["decided_at"]))
            newest = max(newest or counted_at, counted_at)
    return sorted(answer, key=lambda row: (row["decided_at"], row["user_id"], row["transaction_id"]))


def dead_letters(facts):
    letters = {(row["source_topic"], row["source_offset"]): row for row in facts.records["dead_letters"]}.values()
    answer = [dict(source_hour=at, source_topic=topic, reason=reason, records=len(rows), for_example=min(row["detail"] for row in rows))
              for (at, topic, reason), rows in grouped(letters, lambda row: (hour(row["source_time"]), row["source_topic"], row["reason"]))]
    return sorted(answer, key=lambda row: (row["source_hour"], row["source_topic"], -row["records"], row["reason"]))


def duplicates(facts):
    answer = []
    for (user, name), rows in grouped(facts.sent, lambda row: (row["user_id"], row["transaction_id"])):
        if len(rows) > 1:
            times = [row["broker_time"] for row in rows]
            answer.append(dict(user_id=user, transaction_id=name, records=len(rows), differ=len({row["amount_minor"] for row in rows}) > 1,
                               first_at=min(times), seconds_between=milliseconds(min(times), max(times)) / 1000))
    return sorted(answer, key=lambda row: (-row["records"], row["first_at"], row["user_id"], row["transaction_id"]))


def model_versions(facts):
    return [
        dict(model_version=version, model_digest=rows[0]["model_digest"], first_at=min(row["decided_at"] for row in rows),
             last_at=max(row["decided_at"] for row in rows), decisions=len(rows), mean_score=rounded(mean(row["score"] for row in rows), 5),
             blocked_percent=percent(count(rows, stopped=True), len(rows)), guarded_percent=percent(count(rows, guarded=True), len(rows)),
             fraud=count(rows, fraud=True), **rightness(rows))
        for version, rows in grouped(facts.decided, lambda row: row["model_version"])
    ]


def guarded(facts):
    answer = []
    for (at, version), rows in grouped(facts.decided, lambda row: (minute(row["decided_at"]), row["model_version"])):
        taken = [row for row in rows if row["guarded"]]
        if taken:
            answer.append(dict(decided_minute=at, model_version=version, decisions=len(rows), guarded=len(taken),
                               guarded_above_threshold=sum(row["score"] > 0.8 for row in taken), guarded_and_blocked=count(taken, stopped=True)))
    return answer


def label_delay(facts):
    delays = defaultdict(list)
    for event, decision in facts.labelled_events:
        delays[event["event"]].append(milliseconds(decision["event_time"], event["event_time"]) / 86_400_000)
    answer = [dict(event=kind, labels=len(days), mean_days=rounded(mean(days), 2), shortest_days=rounded(min(days), 2), longest_days=rounded(max(days), 2),
                   within_1_day=sum(day < 1 for day in days), within_7_days=sum(day < 7 for day in days), within_30_days=sum(day < 30 for day in days))
              for kind, days in delays.items()]
    return sorted(answer, key=lambda row: (-row["labels"], row["event"]))


def currency_mix(facts):
    answer = [dict(currency=currency, decisions=len(rows), share_percent=percent(len(rows), len(facts.decided)), amount_minor=money(rows),
                   mean_minor=rounded(money(rows) / len(rows), 1), blocked_percent=percent(count(rows, stopped=True), len(rows)),
                   mean_score=rounded(mean(row["score"] for row in rows), 5))
              for currency, rows in grouped(facts.decided, lambda row: row["currency"])]
    return sorted(answer, key=lambda row: (-row["decisions"], row["currency"]))


def new_device_after_change(facts):
    answer = []
    changes = {row["action_id"]: row for row in facts.records["user_actions"] if row["action"] in CHANGES}.values()
    for user, rows in grouped(facts.sent, lambda row: row["user_id"]):
        seen = set()
        for place, row in enumerate(sorted(rows, key=lambda row: (row["event_time"], row["partition"], row["offset"]))):
            is_new, _ = row["device_id"] not in seen, seen.add(row["device_id"])
            for change in (change for change in changes if is_new and place and change["user_id"] == user):
                between = milliseconds(change["event_time"], row["event_time"])
                if 0 <= between <= 24 * 3_600_000:
                    decision = facts.by_key.get((user, row["transaction_id"]))
                    answer.append(dict(user_id=user, action=change["action"], changed_at=change["event_time"], bought_at=row["event_time"],
                                       hours_between=rounded(between / 3_600_000, 2), device_id=row["device_id"], transaction_id=row["transaction_id"],
                                       amount_minor=row["amount_minor"], currency=row["currency"], outcome=decision and decision["outcome"],
                                       score=decision and rounded(decision["score"], 4)))
    return sorted(answer, key=lambda row: (row["bought_at"], row["user_id"], row["action"], row["changed_at"]))


def failed_log_ins(facts):
    answer = []
    failures = [row for row in facts.records["user_actions"] if row["outcome"] == "failure"]
    for user, rows in grouped(failures, lambda row: row["user_id"]):
        last = max(row["event_time"] for row in rows)
        after = [row for row in facts.decided if row["user_id"] == user and 0 <= milliseconds(last, row["event_time"]) <= 24 * 3_600_000]
        answer.append(dict(user_id=user, failures=len({row["action_id"] for row in rows}), networks=len({row["network"] for row in rows}),
                           last_failed_at=last, decisions_after=len(after), blocked_after=count(after, stopped=True)))
    return sorted((row for row in answer if row["failures"] >= 3), key=lambda row: (-row["failures"], row["user_id"]))


def exactly_once(facts):
    letters = {row["source_offset"] for row in facts.records["dead_letters"] if row["source_topic"] == "transactions"}
    answered = sum(key in facts.by_key for key in facts.bought)
    return [dict(transactions=len(facts.bought), decided_once=answered, contradicting=0, unanswered=len(facts.bought) - answered,
                 decisions_of_nothing=0, republished=len(facts.published) - len(facts.decided), dead_lettered=len(letters))]


def records(facts):
    answer = []
    for source, rows in facts.records.items():
        for at, within in grouped(rows, lambda row: hour(row["broker_time"])):
            times = [row["broker_time"] for row in within]
            answer.append(dict(dt=at.strftime("%Y-%m-%d"), hour=at.strftime("%H"), source=source, records=len(within),
                               partitions=len({row["partition"] for row in within}), unreadable=sum(row["problem"] is not None for row in within),
                               first_at=min(times), last_at=max(times)))
    return sorted(answer, key=lambda row: (row["dt"], row["hour"], row["source"]))


def degraded(facts):
    return [dict(decided_hour=at, decisions=len(rows), degraded=count(rows, degraded=True),
                 degraded_percent=percent(count(rows, degraded=True), len(rows), 3), degraded_blocked=count(rows, degraded=True, stopped=True))
            for at, rows in grouped(facts.decided, lambda row: hour(row["decided_at"]))]


QUESTIONS = (
    block_rate, precision_and_savings, top_reasons, most_blocked_users, device_users, shared_devices, late_events, latency, other_threshold,
    calibration, feature_drift, lag_history, user_story, order_changed, dead_letters, duplicates, model_versions, guarded, label_delay,
    currency_mix, new_device_after_change, failed_log_ins, exactly_once, records, degraded,
)


def answers(world):
    facts = Facts(world)
    return {question.__name__.replace("_", "-"): question(facts) for question in QUESTIONS}
