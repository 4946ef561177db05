"""The archive: `cargo bench --bench store` with a million torrents, beside magnetico's schema."""
import json
import subprocess

import machine
import tools
from machine import Failed, Process
from table import at_least, at_most

TORRENTS = 1_000_000
BYTES_SHARE, INSERTS, SEARCH_P99_MS = 1 / 3, 20_000, 5
ORDERS = ["relevance", "seeders", "age"]


def row(wish):
    wish.say(f"archive: {TORRENTS:,} torrents")
    with machine.folder() as folder, Process([tools.bench("store"), TORRENTS], set(machine.CORES), f"{folder}/store.log",
                                             stdout=subprocess.PIPE) as bench:
        lines = bench.child.stdout.read().splitlines()
        if bench.child.wait() != 0:
            raise Failed(f"the store's bench failed{bench.words()}")
    if not lines or not lines[-1].startswith("{"):
        raise Failed("the store's bench says nothing for programs")
    said = json.loads(lines[-1])
    each = (said["database_bytes"] + said["index_bytes"]) / said["torrents"]
    yield at_most("archive: bytes, index included, of magnetico's", said["bytes_ratio"], "", BYTES_SHARE,
                  note=f"{each:.0f} bytes a torrent")
    yield at_least("archive: inserts in batches", said["inserts_per_s"], "a second", INSERTS, note="with the search index")
    for order in ORDERS:
        yield at_most(f"archive: two common words by {order}, p99", said["search"][order]["p99_ms"], "ms", SEARCH_P99_MS)
