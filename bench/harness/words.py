"""What is said on standard error, and the two ways in which a run ends early."""

import sys

from maven import Failed, Skipped

__all__ = ["Failed", "Skipped", "note"]


def note(line):
    print(f"bench: {line}", file=sys.stderr, flush=True)
