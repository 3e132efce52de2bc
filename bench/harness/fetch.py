"""What contenders are made of: copied once into the user's cache by the registries' ordinary clients, and checked file by file."""

import functools
import hashlib
import os
import pathlib
import platform
import re
import shutil
import subprocess

import maven

from .words import Failed, Skipped, note

BENCH = pathlib.Path(__file__).resolve().parent.parent
REPOSITORY = BENCH.parent
CACHE = maven.CACHE / "bench"
# The profile of what is deployed: built for the oldest processor that Lambda has, as in infra/bundle, or one with AVX2. Not for the
# processor that it runs on: where rustc takes x86's SHA instructions for granted it mixes them with AVX, and some processors of Intel's
# take many times as long for a hash (https://github.com/llvm/llvm-project/issues/142368).
SHIPPED = "ship"
LAMBDA_PROCESSORS = {"aarch64": "neoverse-n1", "x86_64": "x86-64-v3"}
PROCESSOR = LAMBDA_PROCESSORS.get(platform.machine(), "generic")


def jars(name):
    """The directory with the jars of bench/peers/jvm/NAME/pom.xml, all of them as listed."""
    maven.need_java("javac")
    source, lib = BENCH / "peers" / "jvm" / name, CACHE / f"{name}-jars"
    maven.fetch(name, source / "pom.xml", source / "jars.sha256", lib, note)
    return lib


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
    with maven.locked(environment):
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


def rustflags(profile):
    """The variable that a build in this profile needs beside the caller's."""
    return {"RUSTFLAGS": f"{os.environ.get('RUSTFLAGS', '')} -C target-cpu={PROCESSOR}".strip()} if profile == SHIPPED else {}


@functools.cache
def binaries(*names, profile="release"):
    """The directory with these programs of the workspace, built if need be."""
    if not shutil.which("cargo"):
        raise Skipped("Rust is needed to build; there is no cargo")
    asked = ["cargo", "build", "--locked", "--profile", profile]
    for name in names:
        asked += ["--bin", name]
    if subprocess.run(asked, cwd=REPOSITORY, env=os.environ | rustflags(profile)).returncode != 0:
        raise Failed(f"cargo could not build {', '.join(names)}")
    known = run(["cargo", "metadata", "--no-deps", "--format-version", "1", "--locked"], cwd=REPOSITORY)
    found = re.search(r'"target_directory":"([^"]+)"', known.stdout)
    if not found:
        raise Failed("cargo does not say where it builds")
    return pathlib.Path(found[1]) / profile


def run(command, **more):
    return subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **more)
