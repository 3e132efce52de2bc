"""One run: a fresh Kafka, a contender, and the harness between them."""

import contextlib
import json
import os
import select
import signal
import subprocess
import time

from . import fetch
from .words import Failed, Skipped, note

SERVERS = fetch.REPOSITORY / "tests/real-servers/run"
# The script's exit code when something that it needs is not installed.
SKIPPED = 3
# Between two looks at whether a contender still lives.
LOOK_S = 1
# A contender that is told to end may take so long; then it is killed.
END_S = 20


def fetch_servers():
    done = subprocess.run([SERVERS, "fetch"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    if done.returncode == SKIPPED:
        raise Skipped("Apache Kafka cannot be had; what it said stands above")
    if done.returncode != 0:
        raise Failed("Apache Kafka cannot be fetched; what was said stands above")


def one(mode, size, ready, arguments, directory):
    """The harness's report of one run."""
    with contextlib.ExitStack() as ends:
        kafka = ends.enter_context(servers(directory / "servers"))["kafka"]
        bootstrap = kafka["bootstrap"]
        harness = ends.enter_context(ended(subprocess.Popen(
            harness_command(mode, size, ready, arguments, bootstrap), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True)))
        line(harness, None)
        started_ms = int(time.time() * 1_000)
        log = ends.enter_context(open(directory / "log", "w+"))
        contender = ends.enter_context(ended(subprocess.Popen(
            [str(word) for word in ready.command(mode, bootstrap, directory)], stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=directory,
            start_new_session=True)))
        told = {"processes": {"contender": contender.pid, "kafka": kafka["pid"]}, "started_unix_ms": started_ms}
        tell(harness, told, log)
        report = line(harness, contender, log)["report"]
        report["is_hosted"] = ready.is_hosted
        return report


def harness_command(mode, size, ready, arguments, bootstrap):
    command = [str(ready.bench), mode, "--kafka", bootstrap]
    if mode == "live":
        return command + ["--rate", str(size), "--warm-up", str(arguments.warm_up), "--seconds", str(arguments.seconds)]
    return command + ["--records", str(size)]


@contextlib.contextmanager
def servers(directory):
    """A fresh Apache Kafka; it ends when this does, and with this process at the latest."""
    directory.mkdir()
    holder = subprocess.Popen([SERVERS, "hold", directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              start_new_session=True)
    try:
        said = holder.stdout.readline()
        if not said.startswith("{"):
            raise Failed("Apache Kafka does not start; what it said stands above")
        yield json.loads(said)
    finally:
        holder.stdin.close()
        holder.wait()


def tell(harness, told, log):
    """Tells the harness whom to watch. One that has ended meanwhile has failed."""
    try:
        harness.stdin.write(json.dumps(told) + "\n")
        harness.stdin.flush()
    except BrokenPipeError:
        raise Failed("the harness ended before it was told whom to watch; what it said stands above" + last_words(log)) from None


def line(harness, contender, log=None):
    """The harness's next line. A contender that ends before has failed."""
    while True:
        readable, _, _ = select.select([harness.stdout], [], [], LOOK_S)
        if readable:
            said = harness.stdout.readline()
            if not said:
                raise Failed("the harness ended without a report; what it said stands above" + last_words(log))
            return json.loads(said)
        if contender and contender.poll() is not None:
            raise Failed(f"the contender ended with {contender.returncode}" + last_words(log))


def last_words(log):
    if log is None:
        return ""
    log.seek(0)
    said = [entry for entry in log.read().splitlines() if entry.strip()]
    return "; the contender's last words: " + " | ".join(said[-5:]) if said else ""


@contextlib.contextmanager
def ended(process):
    """Ends a process that was started in a group of its own, and everything that it started."""
    try:
        yield process
    finally:
        if process.stdin:
            with contextlib.suppress(OSError):
                process.stdin.close()
        for told, patience in ((None, 2), (signal.SIGTERM, END_S), (signal.SIGKILL, END_S)):
            if told is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, told)
            try:
                process.wait(patience)
                break
            except subprocess.TimeoutExpired:
                continue
        else:
            note(f"process {process.pid} does not end")
