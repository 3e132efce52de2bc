"""Judges a run of outside data through the system: its report against what the same model scored on computed features.

    python outside_run.py report.json plan.json
"""

import json
import sys
from pathlib import Path

AVERAGE_PRECISION_MIN = 0.68
#: What the order of arrival of labels and transactions may cost.
DIFFERENCE_MAX = 0.02


def main() -> int:
    report, plan = (json.loads(Path(path).read_text()) for path in sys.argv[1:3])
    scores = report["score"]
    if scores is None:
        print("the run measured no scores", file=sys.stderr)
        return 1
    found, computed = scores["average_precision"], plan["average_precision"]
    print(f"\nthrough the running system: {scores['transactions']:,} rows, {scores['frauds']:,} frauds, verdict {'clean' if report['clean'] else 'NOT CLEAN'}")
    print(f"  average precision  {found:.4f} (computed offline {computed:.4f}), AUC {scores['roc_auc']:.4f}")
    problems = []
    if found < AVERAGE_PRECISION_MIN:
        problems.append(f"average precision {found:.4f} is below {AVERAGE_PRECISION_MIN}")
    if abs(found - computed) > DIFFERENCE_MAX:
        problems.append(f"the system scores otherwise than the features that were computed: {found:.4f} and {computed:.4f}")
    if not report["clean"]:
        problems.append("the run is not clean")
    for problem in problems:
        print(f"refused: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
