"""Lints every *.yaml of a directory in one process, because starting cfn-lint takes longer than linting.

    python3 lint_variants.py DIRECTORY

Prints a line of JSON for each: {"variant": "NAME", "found": ["E3002", ...]}. Ends with 2 when it is called otherwise.
"""

import json
import pathlib
import sys

from cfnlint.api import lint
from cfnlint.config import ManualArgs


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not pathlib.Path(arguments[0]).is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    for variant in sorted(pathlib.Path(arguments[0]).glob("*.yaml")):
        found = lint(variant.read_text(), config=ManualArgs(regions=["us-east-1"]))
        rules = sorted({match.rule.id for match in found})
        print(json.dumps({"variant": variant.stem, "found": rules}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
