"""The parts of `bench/run`."""

import pathlib
import sys

# What fetches and starts Apache Kafka fetches jars for contenders too.
sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "tests/real-servers"))
