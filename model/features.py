"""The model's features as the code that serves has them. Run by itself, it prints them as JSON:
features with their reason codes, in column order."""

import json
import re
import sys
from pathlib import Path

FEATURES_RS = Path(__file__).parent.parent / "shared/domain/src/features.rs"


def read_features(features_rs: Path = FEATURES_RS) -> dict[str, str]:
    """Feature name to reason code, in column order, from the table in ``shared/domain/src/features.rs``: its only home."""
    rows = re.findall(r'^    (\w+) => (\w+),$', features_rs.read_text(), re.MULTILINE)
    if not rows:
        raise ValueError(f"no feature table found in {features_rs}")
    return {name: re.sub(r"(?<!^)(?=[A-Z])", "_", reason).upper() for name, reason in rows}


if __name__ == "__main__":
    json.dump(list(read_features().items()), sys.stdout)
