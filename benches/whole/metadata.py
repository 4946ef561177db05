"""Metadata alone: 20,000 torrents whose peers are known, from the swarm's farm."""
import json
import statistics
import subprocess

import machine
import tools
from machine import Failed, Process
from swarm import Swarm
from table import at_least, ratio

TORRENTS, OPEN, ROUNDS = 20_000, [50, 2_000], 3
MUST, MUST_LIBTORRENT = 0.6, 2.5


def row(wish):
    with machine.folder() as folder, Swarm(folder, 1, TORRENTS) as farm:
        for open_at_once in OPEN:
            figures = {"bare": [], "engine": []}
            # In turn, so that what else the machine does meets both.
            for _ in range(ROUNDS):
                for how, rounds in figures.items():
                    wish.say(f"metadata: {how}, {open_at_once} open")
                    rounds.append(fetch(folder, farm, [
                        tools.bench("fetch"), how, "--hashes", farm.list, "--port", farm.port, "--open", open_at_once]))
            bare, engine = (statistics.median(rounds) for rounds in figures.values())
            what = f"metadata fetched and verified, {open_at_once} open"
            yield ratio(what, engine, "per CPU-second", bare, MUST)
            if wish.peers:
                wish.say(f"metadata: libtorrent, {open_at_once} open")
                libtorrent = fetch(folder, farm, [
                    tools.python(), tools.PEERS / "libtorrent_fetch.py", farm.list, farm.port, open_at_once])
                yield at_least(f"{what}, times libtorrent", engine / libtorrent, "x", MUST_LIBTORRENT,
                               note=f"libtorrent {libtorrent:,.0f} per CPU-second")


def fetch(folder, farm, command):
    with Process(command, machine.MEASURED, f"{folder}/fetch.log", stdout=subprocess.PIPE) as fetcher:
        said = fetcher.child.stdout.readline()
        if not said:
            raise Failed(f"nothing was fetched{fetcher.words()}{farm.words()}")
    said = json.loads(said)
    if said["fetched"] < said["wanted"] * COMPLETE:
        raise Failed(f"{said['how']} fetched {said['fetched']} of {said['wanted']}")
    return said["per_cpu_second"]


# Who leaves out the hard ones has not done the same work.
COMPLETE = 0.999
