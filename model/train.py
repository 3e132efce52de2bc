"""Trains the fraud model on feature rows of the simulated world, measures it, and writes the artifacts.

The rows come from ``centinela features``: the Rust code that serves also computes what is trained on. Here is only the booster,
the split by time, the measurements and the gates; ``export_onnx.py`` writes the files.

    python train.py --rows history.npy --unlabelled history-no-labels.npy --fresh fresh.npy --out artifacts/current
    python train.py --outside outside.npy --outside-unlabelled outside-no-labels.npy --out outside-model

Refuses to write a model whose probabilities are not probabilities (``ECE_MAX``, ``MEAN_RATIO``), for the thresholds would then
mean nothing, and one that would block like an outage (``BLOCK_RATE_MAX``).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import numpy as np
from numpy.lib import recfunctions
from sklearn.metrics import average_precision_score, roc_auc_score

from export_onnx import Details, export
from features import read_features

MODEL_VERSION = "2026.11-2"
#: Of the model that is trained on outside data, which is never bundled.
OUTSIDE_VERSION = "outside-2"
DAY_MS = 86_400_000
TREES = 100
PARAMETERS = {
    "objective": "binary",
    # No class weights: they would make the score something else than a probability.
    "num_leaves": 8,
    "max_depth": 3,
    "learning_rate": 0.1,
    "lambda_l2": 5.0,
    "min_data_in_leaf": 100,
    # Ratios have many equal values; the default of 255 bins costs several points of average precision.
    "max_bin": 4095,
    "min_data_in_bin": 1,
    "seed": 1,
    "num_threads": 1,
    "deterministic": True,
    # Otherwise LightGBM measures which layout is faster, and sums in another order.
    "force_col_wise": True,
    "verbosity": -1,
}
#: What is missing where nobody tells what users do besides buying, and what is 0 there: ``Columns::profile`` in ``features.rs``.
ACTION_FEATURES = (
    "user_registered_days",
    "user_login_hours",
    "user_failed_login_hours",
    "device_logged_in",
    "device_login_hours",
    "user_change_hours",
    "user_device_change_hours",
)
ACTION_COUNTS = ("user_changes_1d",)
#: Share of the users in training of whom no action is known. Without them the model takes every user of a shop that sends no actions for
#: one who never logged in.
ACTIONLESS_USERS = 0.2
THRESHOLDS = (0.1, 0.5, 0.8)
BLOCK_ABOVE = 0.8
FPR = 0.001
BOOTSTRAP_ROUNDS = 200
ECE_BINS = 15

ECE_MAX = 0.002
MEAN_RATIO = (0.8, 1.25)
BLOCK_RATE_MAX = 0.02


@dataclass(frozen=True)
class Split:
    """Days since the first arrival. The gaps keep most campaigns from standing on both sides."""

    train: tuple[float, float]
    validation: tuple[float, float]
    test: tuple[float, float]


#: Training begins with the empty state, as the live system does: first transactions are part of what it learns.
OWN_SPLIT = Split(train=(0, 150), validation=(157, 173), test=(180, 210))
#: Training after 60 days of warm-up; 7 days until the labels would be known.
OUTSIDE_SPLIT = Split(train=(60, 116), validation=(116, 116), test=(123, 157))
#: What is short enough to send it through the running system: it begins with the empty state, as the system does.
SYSTEM_SPLIT = Split(train=(0, 35), validation=(35, 35), test=(42, 56))


def load(path: Path, features: list[str]) -> np.ndarray:
    rows = np.load(path, mmap_mode="r", allow_pickle=False)
    found = [name for name in rows.dtype.names if rows.dtype[name] == np.float32]
    if found != features:
        raise ValueError(f"{path} has the features {found}, the code has {features}: write it again")
    return rows


def matrix(rows: np.ndarray, features: list[str]) -> np.ndarray:
    return np.ascontiguousarray(recfunctions.structured_to_unstructured(rows[features]), np.float32)


def between(rows: np.ndarray, days: tuple[float, float]) -> np.ndarray:
    day = (rows["arrived_at"] - rows["arrived_at"][0]) / DAY_MS
    return rows[(day >= days[0]) & (day < days[1])]


def without_actions(rows: np.ndarray, share: float = 1.0) -> np.ndarray:
    """The same rows, as if a share of their users had done nothing but buy: what the features are without a profile."""
    rows = np.array(rows)
    _, user = np.unique(rows["user_id"], return_inverse=True)
    chosen = (np.random.default_rng(1).random(user.max() + 1) < share)[user]
    for names, value in ((ACTION_FEATURES, np.nan), (ACTION_COUNTS, 0.0)):
        for name in names:
            rows[name][chosen] = value
    return rows


def fit(rows: np.ndarray, features: list[str]) -> lightgbm.Booster:
    data = lightgbm.Dataset(matrix(rows, features), rows["label"], feature_name=features)
    return lightgbm.train(PARAMETERS, data, num_boost_round=TREES)


def score(booster: lightgbm.Booster, rows: np.ndarray, features: list[str]) -> np.ndarray:
    return booster.predict(matrix(rows, features), num_threads=1)


def calibration_error(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean gap between score and outcome over bins with the same number of rows."""
    order = np.argsort(scores, kind="stable")
    bins = np.array_split(order, ECE_BINS)
    return float(sum(len(part) / len(order) * abs(scores[part].mean() - labels[part].mean()) for part in bins))


def recall_at_fpr(scores: np.ndarray, labels: np.ndarray) -> float:
    limit = np.quantile(scores[labels == 0], 1 - FPR)
    return float((scores[labels == 1] > limit).mean())


def bootstrap(rows: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> dict[str, list[float]]:
    """95 % intervals over users drawn with replacement: the frauds of one account are not independent."""
    rng = np.random.default_rng(1)
    _, user = np.unique(rows["user_id"], return_inverse=True)
    found: dict[str, list[float]] = {"average_precision": [], "auc": [], "recall": [], "precision": [], "block_rate": []}
    blocked = scores > BLOCK_ABOVE
    for _ in range(BOOTSTRAP_ROUNDS):
        weight = rng.multinomial(user.max() + 1, np.full(user.max() + 1, 1 / (user.max() + 1)))[user]
        found["average_precision"].append(average_precision_score(labels, scores, sample_weight=weight))
        found["auc"].append(roc_auc_score(labels, scores, sample_weight=weight))
        hits = weight[blocked & (labels == 1)].sum()
        found["recall"].append(hits / weight[labels == 1].sum())
        found["precision"].append(hits / max(weight[blocked].sum(), 1))
        found["block_rate"].append(weight[blocked].sum() / weight.sum())
    return {name: [round(float(np.quantile(values, q)), 5) for q in (0.025, 0.975)] for name, values in found.items()}


def measure(rows: np.ndarray, scores: np.ndarray, intervals: bool = True) -> dict:
    labels = np.asarray(rows["label"])
    report: dict = {
        "rows": len(rows),
        "frauds": int(labels.sum()),
        "base_rate": float(labels.mean()),
        "mean_score": float(scores.mean()),
        "ece": calibration_error(scores, labels),
        "average_precision": float(average_precision_score(labels, scores)),
        "auc": float(roc_auc_score(labels, scores)),
        "recall_at_fpr_0.001": recall_at_fpr(scores, labels),
        "thresholds": {},
        "recall_by_kind": {},
    }
    for threshold in THRESHOLDS:
        above = scores > threshold
        report["thresholds"][str(threshold)] = {
            "rate": float(above.mean()),
            "precision": float(labels[above].mean()) if above.any() else None,
            "recall": float(above[labels == 1].mean()),
        }
    for kind in np.unique(rows["kind"][labels == 1]):
        of_kind = rows["kind"] == kind
        report["recall_by_kind"][kind.decode()] = {"frauds": int(of_kind.sum())} | {
            str(threshold): float((scores[of_kind] > threshold).mean()) for threshold in THRESHOLDS
        }
    if intervals:
        report["intervals_95"] = bootstrap(rows, scores, labels)
    return report


def show(title: str, report: dict) -> None:
    intervals = report.get("intervals_95", {})

    def ranged(name: str, value: float) -> str:
        low_high = intervals.get(name)
        return f"{value:.4f}" + (f" ({low_high[0]:.4f} to {low_high[1]:.4f})" if low_high else "")

    print(f"\n{title}: {report['rows']:,} rows, {report['frauds']:,} frauds")
    print(f"  average precision  {ranged('average_precision', report['average_precision'])}")
    print(f"  AUC                {ranged('auc', report['auc'])}")
    print(f"  recall at FPR 0.1 % {report['recall_at_fpr_0.001']:.4f}")
    print(f"  base rate {report['base_rate']:.5f}, mean score {report['mean_score']:.5f}, ECE {report['ece']:.5f}")
    for threshold, line in report["thresholds"].items():
        precision = "none" if line["precision"] is None else f"{line['precision']:.3f}"
        print(f"  above {threshold}: {line['rate']:.4%} of traffic, precision {precision}, recall {line['recall']:.3f}")
    for kind, line in report["recall_by_kind"].items():
        shown = ", ".join(f"{threshold}: {line[str(threshold)]:.3f}" for threshold in THRESHOLDS)
        print(f"  {kind:17s} {line['frauds']:5d} frauds, recall at {shown}")


def importance(booster: lightgbm.Booster) -> dict[str, float]:
    gain = booster.feature_importance("gain")
    pairs = sorted(zip(booster.feature_name(), gain / gain.sum(), strict=True), key=lambda pair: -pair[1])
    return {name: round(float(share), 5) for name, share in pairs}


def gate(report: dict, fresh: dict) -> list[str]:
    """What stands against serving the model; nothing, if it may be served."""
    problems = calibration_problems(report)
    if fresh["block_rate_worst_slice"] > BLOCK_RATE_MAX:
        rate = fresh["block_rate_worst_slice"]
        problems.append(f"{rate:.2%} of some 10,000 transactions in an unseen world would be blocked, more than {BLOCK_RATE_MAX:.0%}")
    return problems


def calibration_problems(report: dict) -> list[str]:
    problems = []
    ratio = report["mean_score"] / report["base_rate"]
    if report["ece"] > ECE_MAX:
        problems.append(f"calibration error {report['ece']:.5f} is above {ECE_MAX}")
    if not MEAN_RATIO[0] <= ratio <= MEAN_RATIO[1]:
        problems.append(f"mean score is {ratio:.3f} of the base rate, not within {MEAN_RATIO}")
    return problems


def measure_fresh(rows: np.ndarray, scores: np.ndarray) -> dict:
    """A world of another seed from its first transaction on: what a newly started system would do."""
    report = measure(rows, scores)
    blocked = scores > BLOCK_ABOVE
    slices = [blocked[start : start + 10_000].mean() for start in range(0, len(rows) - 9_999, 10_000)]
    report["block_rate_first_slice"] = float(slices[0])
    report["block_rate_worst_slice"] = float(max(slices))
    return report


def manifest_details(version: str, reasons: dict[str, str], rows_path: Path, generator: str, test: dict) -> Details:
    at_block = test["thresholds"][str(BLOCK_ABOVE)]
    return Details(
        model_version=version,
        features=list(reasons),
        reason_groups=reasons,
        calibration={
            "method": "none",
            "ece": test["ece"],
            "mean_score": test["mean_score"],
            "base_rate": test["base_rate"],
        },
        training_data_sha256=digest(rows_path),
        generator=generator,
        trainer=f"lightgbm {lightgbm.__version__}, {TREES} trees of depth {PARAMETERS['max_depth']}, unweighted",
        metrics={
            "average_precision": test["average_precision"],
            "auc": test["auc"],
            "recall_at_fpr_0.001": test["recall_at_fpr_0.001"],
            "block_rate": at_block["rate"],
            "block_precision": at_block["precision"],
            "block_recall": at_block["recall"],
        },
        thresholds={"block_above": BLOCK_ABOVE, "review_above": None},
    )


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def train(arguments: argparse.Namespace) -> int:
    reasons = read_features()
    features = list(reasons)
    rows = load(arguments.rows, features)
    booster = fit(without_actions(between(rows, OWN_SPLIT.train), ACTIONLESS_USERS), features)

    report: dict = {"model_version": MODEL_VERSION, "generator": arguments.generator, "parameters": PARAMETERS | {"trees": TREES}}
    for name in ("validation", "test"):
        part = between(rows, getattr(OWN_SPLIT, name))
        report[name] = measure(part, score(booster, part, features))
        show(f"{name}, days {getattr(OWN_SPLIT, name)}", report[name])
    fresh = load(arguments.fresh, features)
    report["fresh_world"] = measure_fresh(fresh, score(booster, fresh, features))
    show("unseen world from its first transaction", report["fresh_world"])
    print(f"  blocked of the first 10,000: {report['fresh_world']['block_rate_first_slice']:.3%}")
    print(f"  blocked of the worst 10,000: {report['fresh_world']['block_rate_worst_slice']:.3%}")
    if arguments.unlabelled:
        unlabelled = load(arguments.unlabelled, features)
        other = fit(without_actions(between(unlabelled, OWN_SPLIT.train), ACTIONLESS_USERS), features)
        part = between(unlabelled, OWN_SPLIT.test)
        report["test_without_labels"] = measure(part, score(other, part, features))
        show("for comparison, not the model served: no label is ever known, test", report["test_without_labels"])
    for name, part in (("test", between(rows, OWN_SPLIT.test)), ("fresh_world", fresh)):
        part = without_actions(part)
        report[f"{name}_without_actions"] = measure(part, score(booster, part, features))
        show(f"{name.replace('_', ' ')}, of whose users no action is known", report[f"{name}_without_actions"])
    report["importance_by_gain"] = importance(booster)
    print("\nshare of gain: " + ", ".join(f"{name} {share:.3f}" for name, share in report["importance_by_gain"].items() if share))

    problems = gate(report["test"], report["fresh_world"]) + calibration_problems(report["test_without_actions"])
    for problem in problems:
        print(f"refused: {problem}", file=sys.stderr)
    if problems:
        return 1
    details = manifest_details(MODEL_VERSION, reasons, arguments.rows, arguments.generator, report["test"])
    manifest = write(booster, details, between(rows, OWN_SPLIT.test), arguments.out)
    (arguments.out / "metrics.json").write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
    print(f"\n{manifest['model_version']}: model.onnx {manifest['sha256']}")
    return 0


def write(booster: lightgbm.Booster, details: Details, rows: np.ndarray, out: Path) -> dict:
    samples = matrix(rows, details.features)
    # Half of the parity rows are ones that the model is not sure to approve: random ones would all lie near 0.
    scores = booster.predict(samples, num_threads=1)
    doubtful = samples[scores > 0.05]
    return export(booster, details, np.concatenate([doubtful, samples[: len(doubtful)]]), out)


def outside(path: Path, title: str, split: Split, out: Path | None = None) -> None:
    """The same recipe on somebody else's data. Says whether features and recipe only fit our own simulator."""
    reasons = read_features()
    features = list(reasons)
    rows = load(path, features)
    booster = fit(between(rows, split.train), features)
    part = between(rows, split.test)
    report = measure(part, score(booster, part, features))
    show(f"{title}, trained on days {split.train}, days {split.test}", report)
    if out:
        write(booster, manifest_details(OUTSIDE_VERSION, reasons, path, "outside data", report), part, out)
        until = int(np.searchsorted(rows["arrived_at"], rows["arrived_at"][0] + split.test[1] * DAY_MS))
        plan = {"rows": until, "measure_after_hours": int(split.test[0] * 24), "average_precision": report["average_precision"]}
        (out / "plan.json").write_text(json.dumps(plan) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=Path, help="history of the simulated world (.npy)")
    parser.add_argument("--unlabelled", type=Path, help="the same history, of which no label is ever known")
    parser.add_argument("--fresh", type=Path, help="a world of another seed, from its first transaction")
    parser.add_argument("--generator", default="centinela features", help="how the rows were made, for the manifest")
    parser.add_argument("--out", type=Path, help="directory for the artifacts")
    parser.add_argument("--outside", type=Path, help="rows of outside data, labels known 7 days later")
    parser.add_argument("--outside-unlabelled", type=Path, help="the same, of which no label is ever known")
    arguments = parser.parse_args()
    if arguments.outside:
        if arguments.outside_unlabelled:
            outside(arguments.outside_unlabelled, "outside data, no labels", OUTSIDE_SPLIT)
        outside(arguments.outside, "outside data, labels 7 days later", OUTSIDE_SPLIT)
        if arguments.out:
            title = "outside data, labels 7 days later, for the running system"
            outside(arguments.outside, title, SYSTEM_SPLIT, arguments.out)
        return 0
    if not (arguments.rows and arguments.fresh and arguments.out):
        parser.error("--rows, --fresh and --out are needed (or --outside)")
    return train(arguments)


if __name__ == "__main__":
    sys.exit(main())
