"""What contenders are made of: copied once into the user's cache by the registries' ordinary clients, and checked file by file."""

import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess

from .words import Failed, Skipped, note

BENCH = pathlib.Path(__file__).resolve().parent.parent
REPOSITORY = BENCH.parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "centinela" / "bench"


def jars(name):
    """The directory with the jars of bench/peers/jvm/NAME/pom.xml, all of them as listed."""
    need_java()
    source = BENCH / "peers" / "jvm" / name
    lib = CACHE / f"{name}-jars"
    with locked(name):
        if problem(source, lib) is None:
            return lib
        if not shutil.which("mvn"):
            raise Skipped(f"Maven is needed to fetch {name}; there is no mvn (Debian: apt install maven)")
        fresh = CACHE / f"{name}-jars.fetched"
        shutil.rmtree(fresh, ignore_errors=True)
        note(f"{name}: fetching with Maven")
        copied = run(["mvn", "-q", "-B", "-C", "-f", source / "pom.xml", "dependency:copy-dependencies",
                      "-DincludeScope=runtime", f"-DoutputDirectory={fresh}"])
        if copied.returncode != 0:
            why = next((line for line in copied.stdout.splitlines() if "ERROR" in line), "no reason given")
            raise Skipped(f"Maven could not fetch {name}: {why}")
        if wrong := problem(source, fresh):
            raise Failed(f"{name} is not what {source / 'jars.sha256'} lists: {wrong}; it is left in {fresh}")
        shutil.rmtree(lib, ignore_errors=True)
        fresh.rename(lib)
    return lib


def problem(source, lib):
    """What is wrong with a directory of jars, or None."""
    expected = {}
    for line in (source / "jars.sha256").read_text().splitlines():
        digest, name = line.split()
        expected[name] = digest
    found = {path.name: path for path in lib.iterdir()} if lib.is_dir() else {}
    if missing := sorted(expected.keys() - found.keys()):
        return f"{missing[0]} is missing"
    if stray := sorted(found.keys() - expected.keys()):
        return f"{stray[0]} is not on the list"
    for name, path in sorted(found.items()):
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected[name]:
            return f"{name} has another digest"
    return None


def classes(name, lib):
    """The compiled sources of a contender on the JVM, compiled anew when they change."""
    sources = sorted(path for part in ("common", name) for path in (BENCH / "peers" / "jvm" / part).glob("*.java"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    compiled = CACHE / f"{name}-classes-{digest}"
    if not compiled.is_dir():
        fresh = CACHE / f"{name}-classes.compiled"
        shutil.rmtree(fresh, ignore_errors=True)
        done = run(["javac", "-nowarn", "-cp", lib / "*", "-d", fresh, *sources])
        if done.returncode != 0:
            raise Failed(f"javac refuses the sources of {name}: {done.stdout.strip()}")
        fresh.rename(compiled)
    return compiled


def python():
    """The interpreter of an environment that holds exactly the packages of bench/peers/python/requirements.txt."""
    wanted = (BENCH / "peers/python/requirements.txt").read_text()
    environment = CACHE / "python"
    installed = environment / "installed.txt"
    interpreter = environment / "bin/python3"
    with locked("python"):
        if installed.is_file() and installed.read_text() == wanted:
            return interpreter
        shutil.rmtree(environment, ignore_errors=True)
        note("python: installing its packages")
        if run(["python3", "-m", "venv", environment]).returncode != 0:
            raise Skipped("there is no python3 with venv; install python3 and python3-venv")
        done = run([environment / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps",
                    "--only-binary", ":all:", "-r", BENCH / "peers/python/requirements.txt"])
        if done.returncode != 0:
            said = done.stdout.strip().splitlines()
            raise Skipped(f"the packages of the Python contender cannot be installed: {said[-1] if said else 'no reason given'}")
        installed.write_text(wanted)
    return interpreter


def binaries(*names, profile="release"):
    """The directory with these programs of the workspace, built if need be."""
    if not shutil.which("cargo"):
        raise Skipped("Rust is needed to build; there is no cargo")
    asked = ["cargo", "build", "--locked", "--profile", profile]
    for name in names:
        asked += ["--bin", name]
    if subprocess.run(asked, cwd=REPOSITORY).returncode != 0:
        raise Failed(f"cargo could not build {', '.join(names)}")
    known = run(["cargo", "metadata", "--no-deps", "--format-version", "1", "--locked"], cwd=REPOSITORY)
    found = re.search(r'"target_directory":"([^"]+)"', known.stdout)
    if not found:
        raise Failed("cargo does not say where it builds")
    return pathlib.Path(found[1]) / profile


def need_java():
    if not shutil.which("java") or not shutil.which("javac"):
        raise Skipped("Java 17 is needed; there is no java or no javac (Debian: apt install default-jdk)")
    said = subprocess.run(["java", "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', said)
    if not version or int(version[1]) < 17:
        raise Skipped(f"Java 17 or later is needed; `java -version` says {said.splitlines()[0] if said else 'nothing'}")


def run(command, **more):
    return subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **more)


class locked:
    """Nobody else fetches the same thing meanwhile."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        CACHE.mkdir(parents=True, exist_ok=True)
        self.file = open(CACHE / f"{self.name}.lock", "w")
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_):
        self.file.close()
