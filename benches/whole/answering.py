"""Queries answered per CPU-second: our node, a bare responder, libtorrent, the crate `mainline`."""
import contextlib
import json
import statistics
import subprocess

import machine
import tools
from machine import Failed, Process
from table import ratio

ASKS = ["find_node", "get_peers", "sample_infohashes", "announce_peer"]
# Where the load's first node is; see benches/load/nodes.rs.
FIRST = "127.128.0.1"
SECONDS, ROUNDS = 4, 3
MUST = {"find_node": (0.75, 0.85)}
MUST_OTHERS = (0.65, None)


def row(wish):
    peers = {}
    with machine.folder() as folder:
        wish.say("answering: dht-hunter")
        ours = node(folder, ASKS, lambda port, load: command(folder, port, load), capture=folder)
        wish.say("answering: the limit")
        limit = {ask: responder(folder, ask) for ask in ASKS}
        for name, (asks, start) in PEERS.items() if wish.peers else ():
            wish.say(f"answering: {name}")
            try:
                peers[name] = node(folder, asks, start)
            except Failed as failure:
                wish.without(f"{name} answering", failure)
    for ask in ASKS:
        least, aim = MUST.get(ask, MUST_OTHERS)
        others = {name: figures[ask] for name, figures in peers.items() if ask in figures}
        yield ratio(f"{ask} answered, table full, 256 outstanding", ours[ask], "per CPU-second", limit[ask], least, aim,
                    others)


def command(folder, port, load):
    """Our node, its defaults but for the profile."""
    return [tools.hunter(), "run", "--profile", "max", "--listen", f"127.0.0.1:{port}", "--http", "off",
            "--bootstrap", f"{FIRST}:{load}", "--db", f"{folder}/node.db"]


def node(folder, asks, start, capture=None):
    """A whole node: answers per CPU-second by kind, the median of the rounds."""
    port, load = machine.free_port(), machine.free_port()
    with contextlib.ExitStack() as stack:
        under_test = stack.enter_context(Process(
            start(port, load), machine.MEASURED, f"{folder}/node.log", stdin=subprocess.PIPE))
        asker = stack.enter_context(start_load(folder, port, under_test, asks, load,
                                               ["--capture", capture] if capture else []))
        table = json.loads(asker.child.stdout.readline() or "{}")
        if table.get("full_buckets") != table.get("of"):
            raise Failed(f"its table did not fill: {table}{asker.words()}{under_test.words()}")
        # Peers that looked around to fill their tables need not do so any more.
        under_test.child.stdin.write("\n")
        under_test.child.stdin.flush()
        return medians(asker, asks)


def responder(folder, ask):
    """The limit for one kind: fixed answers of the same length as ours."""
    with Process([tools.compiled("udp"), f"{folder}/{ask}"], machine.MEASURED, stdout=subprocess.PIPE) as limit:
        port = int(limit.child.stdout.readline())
        with start_load(folder, port, limit, [ask], 0, ["--parrot"]) as asker:
            return medians(asker, [ask])[ask]


def start_load(folder, port, under_test, asks, own_port, more):
    return Process([tools.bench("load"), "--to", f"127.0.0.1:{port}", "--pid", under_test.pid, "--port", own_port,
                    "--seconds", SECONDS, "--rounds", ROUNDS, "--ask", ",".join(asks), *more],
                   machine.OTHER, f"{folder}/load.log", stdout=subprocess.PIPE)


def medians(asker, asks):
    figures = {ask: [] for ask in asks}
    for line in asker.child.stdout:
        said = json.loads(line)
        right = said["answered"] / max(1, said["answered"] + said["wrong"])
        if right < RIGHT_AT_LEAST:
            raise Failed(f"{said['wrong']} wrong answers to {said['ask']}{asker.words()}")
        figures[said["ask"]].append(said["per_cpu_second"])
    if not all(len(rounds) == ROUNDS for rounds in figures.values()):
        raise Failed(f"the load ended before its time{asker.words()}")
    return {ask: statistics.median(rounds) for ask, rounds in figures.items()}


PEERS = {
    "libtorrent": (ASKS, lambda port, load: [tools.python(), tools.PEERS / "libtorrent_node.py", port, FIRST, load]),
    # It does not know BEP 51.
    "mainline": ([ask for ask in ASKS if ask != "sample_infohashes"],
                 lambda port, load: [tools.mainline(), port, f"{FIRST}:{load}"]),
}
# libtorrent and mainline now and then leave out a value or a node.
RIGHT_AT_LEAST = 0.99
