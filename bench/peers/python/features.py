"""Twenty of the model's features, which every contender computes alike, and the state that they need: some 200 bytes of a user."""

import struct

import orjson

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
HALF_LIVES_MS = (HOUR_MS, 24 * HOUR_MS, 168 * HOUR_MS, 720 * HOUR_MS)
WINDOWS = ("1h", "1d", "7d", "30d")
DEVICE_TYPES = {"mobile": 0.0, "desktop": 1.0, "tablet": 2.0, "pos": 3.0}
DEVICES_MAX = 16
REMEMBERED_MAX = 16
# Newest time, transactions, mean, squares, largest, four counts, four sums, and how many devices and transactions follow.
FIXED = struct.Struct("<qQ3d8dHH")


class State:
    """What is kept of a user."""

    __slots__ = ("newest_at", "transactions", "mean", "squares", "largest", "counts", "sums", "devices", "remembered")

    def __init__(self, stored=None):
        if stored is None:
            self.newest_at, self.transactions = 0, 0
            self.mean = self.squares = self.largest = 0.0
            self.counts, self.sums = [0.0] * 4, [0.0] * 4
            self.devices, self.remembered = [], []
            return
        self.newest_at, self.transactions, self.mean, self.squares, self.largest, *rest = FIXED.unpack_from(stored)
        self.counts, self.sums = rest[:4], rest[4:8]
        self.devices, self.remembered = orjson.loads(stored[FIXED.size:])

    def stored(self):
        fixed = FIXED.pack(self.newest_at, self.transactions, self.mean, self.squares, self.largest, *self.counts,
                           *self.sums, len(self.devices), len(self.remembered))
        return fixed + orjson.dumps([self.devices, self.remembered])

    def fill(self, row, columns, transaction):
        """Fills a row of the matrix before the transaction changes anything; what is not computed is missing to the model."""
        at, amount = transaction["timestamp"], transaction["amount"]
        hour = at % DAY_MS // HOUR_MS
        faded = self.faded(at)
        row[columns["amount"]] = amount
        row[columns["hour"]] = hour
        row[columns["weekday"]] = (at // DAY_MS + 3) % 7
        row[columns["night"]] = hour < 6
        row[columns["device_type"]] = DEVICE_TYPES.get(transaction["device_type"], 4.0)
        row[columns["user_transactions"]] = self.transactions
        for place, window in enumerate(WINDOWS):
            row[columns["user_count_" + window]] = self.counts[place] * faded[place]
            row[columns["user_sum_" + window]] = self.sums[place] * faded[place]
        if self.transactions:
            half_mean = 0.5 * self.mean
            variance = (self.squares + 3 * half_mean * half_mean) / (self.transactions + 3)
            row[columns["user_seconds_since_last"]] = max(0, at - self.newest_at) / 1_000
            row[columns["user_mean"]] = self.mean
            row[columns["user_z"]] = (amount - self.mean) / max(0.01, variance**0.5)
            row[columns["user_ratio_mean"]] = amount / max(0.01, self.mean)
            row[columns["user_ratio_largest"]] = amount / max(0.01, self.largest)
            row[columns["user_new_device"]] = transaction["device_id"] not in self.devices

    def apply(self, transaction, outcome):
        """Lets the transaction change the state, and remembers how it was answered."""
        at, amount = transaction["timestamp"], transaction["amount"]
        faded = self.faded(at)
        self.counts = [count * share + 1 for count, share in zip(self.counts, faded)]
        self.sums = [total * share + amount for total, share in zip(self.sums, faded)]
        self.newest_at = max(self.newest_at, at)
        self.transactions += 1
        distance = amount - self.mean
        self.mean += distance / self.transactions
        self.squares += distance * (amount - self.mean)
        self.largest = max(self.largest, amount)
        if transaction["device_id"] not in self.devices:
            self.devices = (self.devices + [transaction["device_id"]])[-DEVICES_MAX:]
        self.remembered = (self.remembered + [[transaction["transaction_id"], outcome]])[-REMEMBERED_MAX:]

    def answer(self, transaction_id):
        """How the transaction was answered; None for one that is not remembered."""
        return next((outcome for known, outcome in self.remembered if known == transaction_id), None)

    def faded(self, at):
        elapsed_ms = max(0, at - self.newest_at)
        return [2.0 ** (-elapsed_ms / half_life_ms) for half_life_ms in HALF_LIVES_MS]
