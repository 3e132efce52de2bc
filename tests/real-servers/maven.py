"""Jars from Maven Central: Maven itself copies them, once, and every file is checked against a list of digests. `bench/` uses it too."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess

# The user's; whatever is fetched stays here.
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "centinela"


class Failed(Exception):
    """Something went wrong: one line, exit code 1."""


class Skipped(Exception):
    """Something is not installed or cannot be had: one line, exit code 3."""


def fetch(name, pom, digests, lib, say):
    """Makes sure that `lib` holds the jars of a pom.xml, all that `digests` lists and no others. `say` is told what takes a while."""
    need_java()
    with locked(lib):
        if problem(digests, lib) is None:
            return
        if not shutil.which("mvn"):
            raise Skipped(f"Java 17 and Maven are needed to fetch {name}; there is no mvn (Debian: apt install maven)")
        fresh = lib.with_name(f"{lib.name}.fetched")
        shutil.rmtree(fresh, ignore_errors=True)
        say(f"{name}: fetching with Maven")
        maven = ["mvn", "-q", "-B", "-C", "-f", pom, "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={fresh}"]
        done = subprocess.run(maven, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            why = next((line for line in done.stdout.splitlines() if "ERROR" in line), "no reason given")
            raise Skipped(f"Maven could not fetch {name}: {why}")
        if wrong := problem(digests, fresh):
            raise Failed(f"{name} is not what {digests.name} lists: {wrong}; it is left in {fresh}")
        shutil.rmtree(lib, ignore_errors=True)
        fresh.rename(lib)


def problem(digests, lib):
    """What is wrong with a directory of jars, or None."""
    expected = {}
    for line in digests.read_text().splitlines():
        digest, name = line.split()
        expected[name] = digest
    found = {path.name: path for path in lib.iterdir()} if lib.is_dir() else {}
    if missing := sorted(expected.keys() - found.keys()):
        return f"{missing[0]} is missing"
    if stray := sorted(found.keys() - expected.keys()):
        return f"{stray[0]} is not on the list"
    for name, path in sorted(found.items()):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != expected[name]:
            return f"{name} has the digest {digest} and not {expected[name]}"
    return None


def need_java(*more):
    """Java 17 or later, and these programs of a JDK."""
    for program in ("java", *more):
        if not shutil.which(program):
            raise Skipped(f"Java 17 is needed, a JDK; there is no {program} (Debian: apt install default-jdk)")
    said = subprocess.run(["java", "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', said)
    if not version or int(version[1]) < 17:
        raise Skipped(f"Java 17 or later is needed; `java -version` says {said.splitlines()[0] if said else 'nothing'}")


@contextlib.contextmanager
def locked(directory):
    """Nobody else fetches the same thing meanwhile."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with open(directory.with_name(f"{directory.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
