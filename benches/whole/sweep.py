"""A million nodes and nothing to fetch: what it costs to ask all of them, and to know them."""
import re
import time

import machine
from machine import Failed
from swarm import Crawler, Swarm
from table import at_most

NODES, SHARE = 1_000_000, 0.99
CPU_SECONDS, BYTES_A_NODE = 60, 80
PATIENCE, KNOWN_WITHIN = 400, 130
NOBODY = "127.16.0.1:9"


def row(wish):
    with machine.folder() as folder:
        with Crawler(folder, NOBODY, name="nobody") as alone:
            time.sleep(5)
            empty = alone.memory("VmRSS")
        wish.say("sweep: a swarm of a million nodes")
        with Swarm(folder, NODES, 0) as swarm, Crawler(folder, swarm.bootstrap, "--log", "info") as crawler:
            wish.say("sweep: dht-hunter")
            until = time.monotonic() + PATIENCE
            while True:
                stats = swarm.stats()
                cpu, took = crawler.cpu_seconds(), time.monotonic() - crawler.began
                asked = stats.get("nodes_asked", 0) / stats.get("live", NODES)
                if asked >= SHARE:
                    break
                if time.monotonic() > until:
                    raise Failed(f"only {asked:.1%} of the nodes were asked in {PATIENCE} s, {cpu:.0f} s of CPU")
                time.sleep(0.1)
            yield at_most(f"sweep: {SHARE:.0%} of 1,000,000 nodes asked", cpu, "s of CPU", CPU_SECONDS,
                          note=f"{took:.0f} s")
            known = machine.wait_for("knowing a million nodes", KNOWN_WITHIN,
                                     lambda: (count := known_nodes(crawler)) >= NODES * SHARE and count)
            each = (crawler.memory("VmRSS") - empty) / known
            yield at_most("sweep: memory for each known node", each, "bytes", BYTES_A_NODE, note=f"{known:,} known")


def known_nodes(crawler):
    """As its log says from time to time."""
    with open(crawler.log, errors="replace") as file:
        said = re.findall(r"nodes ([0-9,]+)", file.read())
    return int(said[-1].replace(",", "")) if said else 0
