"""The whole crawler: from one known node to torrents in the archive."""
import json
import statistics
import subprocess
import time

import machine
import tools
from machine import Failed, Process
from swarm import Crawler, Swarm
from table import at_least, at_most

NODES = TORRENTS = 20_000
ROUNDS, PATIENCE, SHARE = 3, 120, 0.99
MUST, MUST_LIBTORRENT, MEMORY_MB = 7_000, 1.6, 80
LIBTORRENT_OPEN = 50


def row(wish):
    rates, peaks, seconds = [], [], []
    libtorrent = None
    for number in range(ROUNDS):
        with machine.folder() as folder, Swarm(folder, NODES, TORRENTS) as swarm:
            wish.say(f"crawl: dht-hunter, round {number + 1}")
            with Crawler(folder, swarm.bootstrap) as crawler:
                stored, cpu, took = until_stored(crawler, swarm.reachable * SHARE)
                rates.append(stored / cpu)
                seconds.append(took)
                peaks.append(crawler.memory("VmHWM") / 1e6)
                crawler.close()
            if wish.peers and libtorrent is None:
                wish.say("crawl: libtorrent, fetching only")
                with Process([tools.python(), tools.PEERS / "libtorrent_fetch.py", swarm.list, swarm.port,
                              LIBTORRENT_OPEN], machine.MEASURED, f"{folder}/libtorrent.log",
                             stdout=subprocess.PIPE) as fetcher:
                    libtorrent = json.loads(fetcher.child.stdout.readline())["per_cpu_second"]
    rate = statistics.median(rates)
    peers = {"libtorrent, fetching only": libtorrent} if libtorrent else {}
    yield at_least("crawl 20,000 nodes and torrents: stored", rate, "per CPU-second", MUST, peers,
                   note=f"{statistics.median(seconds):.1f} s each, {SHARE:.0%} of what can be had")
    if libtorrent:
        yield at_least("crawl, times libtorrent that only fetches", rate / libtorrent, "x", MUST_LIBTORRENT)
    yield at_most("crawl: memory at most", max(peaks), "MB", MEMORY_MB)


def until_stored(crawler, wanted):
    """Torrents stored, CPU seconds and seconds when that many were in the archive."""
    until = time.monotonic() + PATIENCE
    while True:
        stored = crawler.stored()
        cpu, now = crawler.cpu_seconds(), time.monotonic()
        if stored >= wanted:
            return stored, cpu, now - crawler.began
        if now > until:
            raise Failed(f"only {stored} of {wanted:.0f} torrents after {PATIENCE} s{crawler.words()}")
        time.sleep(0.1)
