"""What is said on standard error, and the two ways in which a run ends early."""

import sys


class Failed(Exception):
    """Something went wrong: one line, exit code 1."""


class Skipped(Exception):
    """Something is not installed or cannot be had: one line, and the rest goes on."""


def note(line):
    print(f"bench: {line}", file=sys.stderr, flush=True)
