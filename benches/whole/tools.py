"""Everything that is measured or measured against, built before it is asked for."""
import functools
import json
import os
import pathlib
import shutil
import subprocess

from machine import Failed

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PEERS = ROOT / "benches/peers"
LIMITS = ROOT / "benches/limits"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
BUILT = TARGET / "bench"


def run(command, **more):
    """Runs to the end and fails loudly."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT, text=True, capture_output=True, **more)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: {done.stderr.strip()[-2000:]}")
    return done.stdout


@functools.cache
def hunter():
    """The program, as it is released."""
    return executable(["--bin", "dht-hunter"])


@functools.cache
def bench(name):
    """A bench of the crate."""
    return executable(["--bench", name])


def executable(which):
    lines = run(["cargo", "build", "--release", "--locked", "--message-format=json", *which]).splitlines()
    wanted = which[-1]
    for line in lines:
        said = json.loads(line)
        if said.get("executable") and said["target"]["name"] == wanted:
            return said["executable"]
    raise Failed(f"cargo built no {wanted}")


@functools.cache
def compiled(name):
    """A limit in C."""
    BUILT.mkdir(parents=True, exist_ok=True)
    out = BUILT / name
    run(["cc", "-O2", "-Wall", "-Wextra", "-o", out, LIMITS / f"{name}.c"])
    return out


@functools.cache
def installed(name):
    """A program that is on the path, or that the environment names: MASSDNS for massdns."""
    found = os.environ.get(name.upper()) or shutil.which(name)
    if not found:
        raise Failed(f"{name} is not installed; {name.upper()}=PATH names it")
    return found


@functools.cache
def mainline():
    """The crate `mainline` as a node, or why there is none."""
    folder = PEERS / "mainline"
    target = BUILT / "mainline"
    run(["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", folder / "Cargo.toml",
         "--target-dir", target])
    return target / "release/mainline-node"


@functools.cache
def flamegraph():
    """Draws flame graphs; built once, from the crate inferno."""
    tool = TARGET / "tools/bin/inferno-flamegraph"
    if not tool.exists():
        run(["cargo", "install", "--quiet", "--locked", "--root", TARGET / "tools", "--target-dir", TARGET / "tools/build",
             "inferno"])
    return tool


@functools.cache
def python():
    """A Python that has libtorrent."""
    venv = TARGET / "peers-venv"
    interpreter = venv / "bin/python"
    if not interpreter.exists():
        run(["python3", "-m", "venv", venv])
    if subprocess.run([interpreter, "-c", "import libtorrent"], capture_output=True).returncode != 0:
        run([interpreter, "-m", "pip", "install", "-q", "--disable-pip-version-check", "libtorrent"])
    return interpreter


def versions():
    """Of everything that the figures depend on."""
    said = {"dht-hunter": run(["git", "rev-parse", "--short", "HEAD"]).strip() + dirty(),
            "rustc": run(["rustc", "--version"]).split()[1],
            "cc": run(["cc", "--version"]).splitlines()[0]}
    said["libtorrent"] = run([python(), "-c", "import libtorrent; print(libtorrent.version)"]).strip()
    lock = (PEERS / "mainline/Cargo.lock").read_text()
    said["mainline"] = lock.split('name = "mainline"\nversion = "', 1)[1].split('"', 1)[0]
    return said


def dirty():
    changed = run(["git", "status", "--porcelain", "--", "src", "Cargo.toml", "Cargo.lock"])
    return " with changes" if changed.strip() else ""
