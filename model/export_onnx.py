"""Turns a trained LightGBM booster into the artifacts that the scoring function bundles.

Writes three files into one directory:

* ``model.onnx``     one TreeEnsembleClassifier node; the feature names are in its metadata
* ``manifest.json``  version, digest, feature order, thresholds, calibration, metrics, reason groups
* ``parity.json``    input rows with the probabilities that LightGBM and onnxruntime give for them

Refuses what the function could not serve or explain truthfully: another objective than ``binary``, categorical splits, zero read
as missing, feature names in another order, and an ONNX file that disagrees with LightGBM by more than ``PARITY_TOLERANCE``.

Use as a module (``export``), or from a shell:

    python export_onnx.py --booster booster.txt --details details.json --samples rows.npy --out artifacts/current

``details.json`` holds the fields of ``Details``; ``rows.npy`` holds float32 feature rows, in feature order, for the parity file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import lightgbm
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

MANIFEST_SCHEMA_VERSION = 2
#: Largest difference of probability between LightGBM (doubles) and the ONNX file (floats).
PARITY_TOLERANCE = 1e-6
#: ``kZeroThreshold`` of LightGBM.
ZERO_BAND = float(np.float32(1e-35))
#: Rows taken from the samples; edge rows come on top.
PARITY_SAMPLE_ROWS = 80
#: Splits whose threshold is probed exactly and one float above.
PARITY_SPLITS_PROBED = 50


@dataclass(frozen=True)
class Details:
    """What the manifest says beyond what the booster itself knows."""

    #: At most 16 bytes: every decision carries it.
    model_version: str
    #: Input columns, in order.
    features: list[str]
    #: Feature name to reason code; every feature has one.
    reason_groups: dict[str, str]
    #: ``method``, ``ece``, ``mean_score``, ``base_rate``; measured on data that training has not seen.
    calibration: dict[str, object]
    #: SHA-256 of the training set, in hexadecimal.
    training_data_sha256: str
    #: Where the training data came from.
    generator: str
    #: How the booster was trained.
    trainer: str
    #: Name to number, from the test period.
    metrics: dict[str, float]
    #: A score above ``block_above`` is blocked; above ``review_above``, if there is one, reviewed.
    thresholds: dict[str, float | None] = field(default_factory=lambda: {"block_above": 0.8, "review_above": None})
    #: While the model would block more than ``block_rate_max`` of the users of ``window_seconds`` (reckoned as at least
    #: ``minimum_users``), decisions follow ``fallback``: ``most_suspicious``, ``review`` or ``approve``.
    guard: dict[str, float | int | str] = field(
        default_factory=lambda: {
            "window_seconds": 600,
            "minimum_users": 500,
            "block_rate_max": 0.02,
            "fallback": "most_suspicious",
        }
    )


def export(booster: lightgbm.Booster, details: Details, samples: np.ndarray, out_dir: Path | str, seed: int = 7) -> dict:
    """Writes the three artifacts and returns the manifest. ``samples`` is float32, one row per transaction."""
    # A booster fresh from early stopping answers with its best iteration; a written one has no other.
    booster = lightgbm.Booster(model_str=booster.model_to_string())
    dump = booster.dump_model()
    _check(dump, details, samples)

    model = _convert(booster, dump, details)
    onnx_bytes = model.SerializeToString(deterministic=True)
    digest = hashlib.sha256(onnx_bytes).hexdigest()
    manifest = {
        "schema_version": MANIFEST_SCHEMA_VERSION,
        "model_version": details.model_version,
        "sha256": digest,
        "features": details.features,
        "thresholds": details.thresholds,
        "guard": details.guard,
        "calibration": details.calibration,
        "training_data_sha256": details.training_data_sha256,
        "generator": details.generator,
        "trainer": details.trainer,
        "metrics": details.metrics,
        "reason_groups": {name: details.reason_groups[name] for name in details.features},
    }

    rows = _parity_rows(dump, samples, np.random.default_rng(seed))
    lightgbm_scores = booster.predict(rows.astype(np.float64), num_threads=1)
    onnx_scores = _onnxruntime_scores(onnx_bytes, rows)
    worst = float(np.abs(lightgbm_scores - onnx_scores).max())
    if worst > PARITY_TOLERANCE:
        raise ValueError(f"onnxruntime and LightGBM differ by {worst:.3g}, more than {PARITY_TOLERANCE}")

    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.onnx").write_bytes(onnx_bytes)
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2, allow_nan=False) + "\n")
    (out / "parity.json").write_text(_parity_json(digest, details.features, rows, lightgbm_scores, onnx_scores))
    return manifest


def _check(dump: dict, details: Details, samples: np.ndarray) -> None:
    if not dump["objective"].startswith("binary"):
        raise ValueError(f"objective must be binary, got {dump['objective']!r}")
    if dump["feature_names"] != details.features:
        raise ValueError(f"the booster was trained on {dump['feature_names']}, the details name {details.features}")
    if missing := [name for name in details.features if name not in details.reason_groups]:
        raise ValueError(f"features without a reason group: {missing}")
    if samples.dtype != np.float32 or samples.ndim != 2 or samples.shape[1] != len(details.features):
        raise ValueError(f"samples must be float32 rows of {len(details.features)}, got {samples.dtype} {samples.shape}")
    if not 1 <= len(details.model_version.encode()) <= 16:
        raise ValueError(f"model_version must have 1 to 16 bytes, got {details.model_version!r}")
    for tree in dump["tree_info"]:
        for split in _splits(tree["tree_structure"]):
            if split["decision_type"] != "<=" or split["missing_type"] == "Zero":
                kind = f"{split['decision_type']}, missing {split['missing_type']}"
                raise ValueError(f"only numerical splits with NaN as missing can be exported, got {kind}")


def _splits(node: dict):
    if "left_child" in node:
        yield node
        yield from _splits(node["left_child"])
        yield from _splits(node["right_child"])


def _convert(booster: lightgbm.Booster, dump: dict, details: Details) -> onnx.ModelProto:
    """One TreeEnsembleClassifier, with LightGBM's own comparisons and node counts.

    The converter's file is corrected in three places. Thresholds become the float at which every float input takes the
    branch that LightGBM takes with its double. A missing value follows LightGBM's rule for the split. ``nodes_hitrates`` carries
    the number of training rows of each node, which is what explanations need; runtimes ignore it.
    """
    n_features = len(details.features)
    converted = convert_lightgbm(
        booster, initial_types=[("input", FloatTensorType([None, n_features]))], zipmap=False, target_opset=15
    )
    (node,) = [node for node in converted.graph.node if node.op_type == "TreeEnsembleClassifier"]
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    place = {key: index for index, key in enumerate(zip(attributes["nodes_treeids"], attributes["nodes_nodeids"]))}
    values, missing_true, hits = ([None] * len(place) for _ in range(3))

    def copy(tree: int, node_id: int, source: dict) -> None:
        index = place[(tree, node_id)]
        is_leaf = "left_child" not in source
        if is_leaf != (attributes["nodes_modes"][index] == b"LEAF"):
            raise ValueError(f"tree {tree} node {node_id}: the converter changed the shape of the tree")
        values[index] = 0.0 if is_leaf else _float_at_most(source["threshold"])
        missing_true[index] = 0 if is_leaf else int(_missing_goes_left(source))
        # A tree that is a single leaf has no count; its path is empty, so any positive number does.
        hits[index] = float(source.get("leaf_count", 1) if is_leaf else source["internal_count"])
        if not is_leaf:
            copy(tree, attributes["nodes_truenodeids"][index], source["left_child"])
            copy(tree, attributes["nodes_falsenodeids"][index], source["right_child"])

    for tree in dump["tree_info"]:
        copy(tree["tree_index"], 0, tree["tree_structure"])
    attributes.update(nodes_values=values, nodes_missing_value_tracks_true=missing_true, nodes_hitrates=hits)

    classifier = helper.make_node(
        "TreeEnsembleClassifier", ["input"], ["label", "probabilities"], "trees", domain="ai.onnx.ml", **attributes
    )
    graph = helper.make_graph(
        [classifier],
        "fraud",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, n_features])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
        ],
    )
    opsets = [helper.make_opsetid("", 9), helper.make_opsetid("ai.onnx.ml", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=4, producer_name="centinela")
    helper.set_model_props(
        model,
        {
            "features": json.dumps(details.features),
            "model_version": details.model_version,
            "training_data_sha256": details.training_data_sha256,
        },
    )
    onnx.checker.check_model(model)
    return model


def _float_at_most(threshold: float) -> float:
    """The largest float that takes LightGBM's left branch: ``x <= threshold`` is then the same for every float ``x``."""
    # LightGBM reads a value this close to 0 as 0, so the whole band takes one branch.
    if abs(threshold) <= ZERO_BAND:
        return ZERO_BAND if threshold >= 0.0 else float(np.nextafter(np.float32(-ZERO_BAND), np.float32(-np.inf)))
    with np.errstate(over="ignore"):
        rounded = np.float32(threshold)
    if float(rounded) > threshold:
        rounded = np.nextafter(rounded, np.float32(-np.inf))
    return float(rounded)


def _missing_goes_left(split: dict) -> bool:
    # A feature that never was missing in training reads NaN as 0.
    return split["threshold"] >= 0.0 if split["missing_type"] == "None" else split["default_left"]


def _parity_rows(dump: dict, samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sampled rows, then rows at the edges: thresholds, missing values, extremes."""
    n_features = samples.shape[1]
    chosen = samples[rng.choice(len(samples), min(PARITY_SAMPLE_ROWS, len(samples)), replace=False)]
    rows = [chosen]

    splits = [split for tree in dump["tree_info"] for split in _splits(tree["tree_structure"])]
    probed = rng.choice(len(splits), min(PARITY_SPLITS_PROBED, len(splits)), replace=False) if splits else []
    for index in probed:
        pair = np.repeat(samples[rng.integers(len(samples))][None], 2, axis=0)
        threshold = np.float32(_float_at_most(splits[index]["threshold"]))
        with np.errstate(over="ignore"):
            pair[:, splits[index]["split_feature"]] = [threshold, np.nextafter(threshold, np.float32(np.inf))]
        rows.append(pair)

    holes = samples[rng.integers(len(samples), size=20)].copy()
    holes[rng.random(holes.shape) < 0.3] = np.nan
    extremes = [np.nan, 0.0, -0.0, 1.0, -1.0, 1e-45, ZERO_BAND, -ZERO_BAND, np.finfo(np.float32).max, np.finfo(np.float32).min]
    rows += [holes, np.repeat(np.array(extremes, np.float32)[:, None], n_features, axis=1)]
    rows = np.concatenate(rows)
    # JSON has no infinity.
    return np.clip(rows, np.finfo(np.float32).min, np.finfo(np.float32).max)


def _onnxruntime_scores(onnx_bytes: bytes, rows: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(onnx_bytes, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"input": rows})[0][:, 1]


def _parity_json(digest: str, features: list[str], rows: np.ndarray, lightgbm_scores, onnx_scores) -> str:
    lines = [
        json.dumps(
            {
                "input": [None if math.isnan(value) else float(value) for value in row],
                "lightgbm": float(expected),
                "onnxruntime": float(runtime),
            },
            allow_nan=False,
        )
        for row, expected, runtime in zip(rows, lightgbm_scores, onnx_scores, strict=True)
    ]
    head = f'{{"sha256": "{digest}",\n"features": {json.dumps(features)},\n"rows": [\n'
    return head + ",\n".join(lines) + "\n]}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--booster", required=True, help="LightGBM model file (text)")
    parser.add_argument("--details", required=True, help="JSON with the fields of Details")
    parser.add_argument("--samples", required=True, help="float32 feature rows (.npy)")
    parser.add_argument("--out", required=True, help="directory for the three artifacts")
    arguments = parser.parse_args()
    manifest = export(
        lightgbm.Booster(model_file=arguments.booster),
        Details(**json.loads(Path(arguments.details).read_text())),
        np.load(arguments.samples, allow_pickle=False),
        arguments.out,
    )
    print(f"{manifest['model_version']}: {len(manifest['features'])} features, sha256 {manifest['sha256']}")


if __name__ == "__main__":
    main()
