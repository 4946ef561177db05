"""The archive: `cargo bench --bench store` measures and judges itself; its lines are put in."""
import json
import subprocess

import machine
import tools
from machine import Failed, Process
from table import Measure


def row(wish):
    wish.say("archive: cargo bench --bench store")
    with machine.folder() as folder, Process([tools.bench("store"), "--json"], set(machine.CORES), f"{folder}/store.log",
                                             stdout=subprocess.PIPE) as bench:
        lines = [line for line in bench.child.stdout if line.startswith("{")]
        if bench.child.wait() != 0:
            raise Failed(f"the store's bench failed{bench.words()}")
    if not lines:
        raise Failed("the store's bench prints no JSON lines")
    for line in lines:
        said = json.loads(line)
        bounds = {key: said[key] for key in ("limit", "peers", "least", "most", "aim", "note") if key in said}
        judged = said["value"] / said["limit"] if "limit" in said else said["value"]
        yield Measure(said["what"], said["value"], said["unit"], judged=judged, **bounds)
