"""Who takes part: what each is, what it guarantees, and how it is started."""

import dataclasses
import pathlib
from collections.abc import Callable

from . import fetch

# What an idiomatic or interpreted function can take on two processors, and a rate at which it does not fall behind.
SLOW_RATE = 200
LIVE, BACKLOG = "live", "backlog"
# Whom every table has, so that its figures can be compared.
COMPARED_WITH = ("centinela", "flink-at-least-once")
MODEL = fetch.REPOSITORY / "model/artifacts/current"
# Flink passes on what has gathered after so many ms; its default of 100 is twenty times our p50.
BUFFER_TIMEOUT_MS = "5"
# What both engines ask of Java 17.
OPENS = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in (
    "java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.text", "java.time", "java.util",
    "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks", "jdk.internal.ref", "sun.nio.ch",
    "sun.nio.cs", "sun.security.action", "sun.util.calendar")]


@dataclasses.dataclass(frozen=True)
class Ready:
    """A contender that can be started."""

    # Takes the mode, the brokers and a directory of its own, and returns the command line.
    command: Callable[[str, str, pathlib.Path], list]
    # Whether the process is the host of a function, which is its child and is counted apart.
    is_hosted: bool
    bench: pathlib.Path


@dataclasses.dataclass(frozen=True)
class Contender:
    name: str
    says: str
    guarantees: str
    is_slow: bool
    # Takes cargo's profile, of the functions that are built here.
    make: Callable[[str], Callable[[str, str, pathlib.Path], list]]
    is_hosted: bool
    modes: tuple = (LIVE, BACKLOG)

    def prepare(self, profile):
        return Ready(self.make(profile), self.is_hosted, measurer())


def measurer():
    """What sends, reads and hosts. It is no contender: it is always built the same."""
    return fetch.binaries("centinela-bench") / "centinela-bench"


def hosted(program, *live):
    """A function before our own mapping; `program` says where the program is, `live` what else the host is told when it is not a backlog."""

    def make(profile):
        bench, place = measurer(), program(profile)

        def command(mode, kafka, directory):
            asked = [bench, "host", "--kafka", kafka, *(["--backlog"] if mode == BACKLOG else live)]
            return [*asked, "--program", place(directory)]
        return command
    return make


def built(name):
    """A program of ours."""

    def place(profile):
        program = fetch.binaries(name, profile=profile) / name
        return lambda _directory: program
    return place


def python(_profile):
    interpreter = fetch.python()

    def bootstrap(directory):
        # Lambda starts a file named like this; a function's process gets no variables but Lambda's and its own.
        file = directory / "bootstrap"
        file.write_text(f"#!/bin/sh\nexport BENCH_MODEL_DIRECTORY='{MODEL}'\n"
                        f"exec '{interpreter}' -B '{fetch.BENCH / 'peers/python/handler.py'}'\n")
        file.chmod(0o755)
        return file
    return bootstrap


def jvm(name, main, arguments):
    def make(_profile):
        lib = fetch.jars(name)
        compiled = fetch.classes(name, lib)

        def command(_mode, kafka, directory):
            return ["java", "-Xmx1g", *OPENS, "-cp", f"{compiled}:{lib}/*", main, kafka, *arguments]
        return command
    return make


def flink(guarantee):
    return jvm("flink", "centinela.bench.FlinkJob", [guarantee, MODEL, BUFFER_TIMEOUT_MS])


ALL = {contender.name: contender for contender in (
    Contender(
        "centinela", "the deciding function, with its database and stream on this machine",
        "one decision per transaction, durable before it is published, once in effect; evidence, reasons, order of partitions kept",
        False, hosted(built("score-transactions")), True),
    Contender(
        "centinela-unpaced", "the same, each batch as soon as the one before is done instead of 4 ms after the last larger one",
        "the same",
        False, hosted(built("score-transactions"), "--unpaced"), True, (LIVE,)),
    Contender(
        "flink-at-least-once", "Flink 2.2.1, state in the heap, a checkpoint every second",
        "after a crash up to a second is decided again, from older state, and published again, maybe with another outcome",
        False, flink("at-least-once"), False),
    Contender(
        "flink-exactly-once", "the same with transactions",
        "one decision per transaction for readers of committed records; a decision is visible with its checkpoint, a second later",
        False, flink("exactly-once"), False),
    Contender(
        "spark", "Spark 4.2.0 Structured Streaming, micro-batches, state in RocksDB",
        "state once in effect; after a crash a micro-batch is published again, with the same outcome if its input is the same",
        False, jvm("spark", "centinela.bench.SparkJob", [MODEL]), False),
    Contender(
        "python", "a tuned function in Python: boto3, ONNX Runtime, 25 conditional writes to a call",
        "once in effect within a user's sixteen newest transactions; no stored evidence, a bad record stops its partition",
        True, hosted(python), True),
    Contender(
        "stock-rust", "a function in Rust from the shelf: aws_lambda_events, serde_json, the SDK, tract, put and update of an idempotency record",
        "each transaction worked on once within an hour; two environments may overwrite one user's state; three writes",
        True, hosted(built("stock-rust")), True),
)}
