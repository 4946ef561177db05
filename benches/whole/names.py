"""Names looked up in bulk per CPU-second: `resolve --file`, the least that asking costs, massdns."""
import json
import os
import statistics
import subprocess
import time

import machine
import tools
from machine import Failed, Process
from table import Measure, at_least, at_most

NAMES, OPEN, ROUNDS = 400_000, 1_024, 3
MUST, MEMORY_MB = 200_000, 64
# Where 200,000 was asked for, massdns reached 205,000; other machines are slower or faster.
OF_MASSDNS = 200 / 205
PATIENCE = 120


def row(wish):
    ours = {"names: A records, as JSON lines": ["--type", "A"], "names: hosts, two questions each": []}
    program, limit = tools.hunter(), tools.compiled("names")
    peers = {}
    if wish.peers:
        try:
            peers = massdns()
        except Failed as failure:
            wish.say(f"names: without massdns: {failure}")
    rounds = {what: [] for what in [*ours, "limit", *peers]}
    with machine.folder() as folder:
        with open(f"{folder}/names", "w") as file:
            file.writelines(f"host{number}.example.test\n" for number in range(NAMES))
        with Process([limit, "answer"], machine.OTHER, f"{folder}/answer.log", stdout=subprocess.PIPE) as responder:
            port = int(responder.child.stdout.readline())
            with open(f"{folder}/resolvers", "w") as file:
                file.write(f"127.0.0.1:{port}\n")
            # In turn, so that what else the machine does meets all of them.
            for number in range(ROUNDS):
                wish.say(f"names: round {number + 1}")
                rounds["limit"].append(bare(folder, limit, port))
                for what, flags in ours.items():
                    command = [program, "resolve", "--file", f"{folder}/names", *flags, f"@127.0.0.1:{port}"]
                    rounds[what].append(Run(folder, command, whole))
                for what, command in peers.items():
                    rounds[what].append(Run(folder, command(folder), lines))
    yield from judge(ours, peers, rounds)


def judge(ours, peers, rounds):
    rate = {what: statistics.median(run.per_cpu_second for run in runs) for what, runs in rounds.items() if what != "limit"}
    limit = statistics.median(rounds["limit"])
    for what in ours:
        records = what == next(iter(ours))
        wall = statistics.median(run.per_second for run in rounds[what])
        yield Measure(what, rate[what], "per CPU-second", limit if records else limit / 2,
                      {peer: rate[peer] for peer in peers} if records else {}, judged=rate[what],
                      least=MUST if records else None, note=f"{NAMES:,} names, {wall:,.0f} a second")
    if peers:
        yield at_least("names: of what massdns looks up", rate[next(iter(ours))] / rate["massdns, lines"], "times", OF_MASSDNS)
    yield at_most("names: memory at most", max(run.memory for what in ours for run in rounds[what]) / 1e6, "MB", MEMORY_MB)


class Run:
    """One program over all names, and what it cost."""

    def __init__(self, folder, command, check):
        with open(f"{folder}/out", "wb") as out, open(f"{folder}/run.log", "ab") as log:
            began = time.monotonic()
            child = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out, stderr=log,
                                     preexec_fn=lambda: os.sched_setaffinity(0, machine.MEASURED))
            until = began + PATIENCE
            while True:
                pid, status, used = os.wait4(child.pid, os.WNOHANG)
                if pid:
                    break
                if time.monotonic() > until:
                    child.kill()
                    os.wait4(child.pid, 0)
                    raise Failed(f"{command[0]} took longer than {PATIENCE} s")
                time.sleep(0.002)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            with open(f"{folder}/run.log", errors="replace") as log:
                raise Failed(f"{command[0]}: {log.read().strip()[-300:]}")
        check(f"{folder}/out")
        self.per_cpu_second = NAMES / (used.ru_utime + used.ru_stime)
        self.per_second = NAMES / (time.monotonic() - began)
        self.memory = used.ru_maxrss * 1024


def whole(path):
    """Every name has its line, once, and addresses in it."""
    seen = bytearray(NAMES)
    with open(path) as file:
        for line in file:
            said = json.loads(line)
            if said["error"] or not said["ipv4"]:
                raise Failed(f"no address: {line}")
            seen[int(said["name"][len("host"):].split(".", 1)[0])] += 1
    if seen.count(1) != NAMES:
        raise Failed(f"{seen.count(0)} names are lost, {NAMES - seen.count(0) - seen.count(1)} come more than once")


def lines(path):
    with open(path, "rb") as file:
        count = sum(1 for _ in file)
    if count < NAMES * COMPLETE:
        raise Failed(f"only {count} of {NAMES} names have a line")


def bare(folder, limit, port):
    """One socket, batches of 64, nothing remembered: the least that questions and answers cost."""
    with Process([limit, "ask", port, NAMES, OPEN], machine.MEASURED, f"{folder}/ask.log", stdout=subprocess.PIPE) as asker:
        said = json.loads(asker.child.stdout.readline() or "{}")
    if said.get("answered") != NAMES:
        raise Failed(f"the limit was not answered: {said}{asker.words()}")
    return said["per_cpu_second"]


def massdns():
    """massdns with simple lines and with JSON lines, if it is here; no Debian package has it."""
    program = tools.installed("massdns")
    command = lambda form: lambda folder: [program, "--root", "--quiet", "--type", "A", "--resolvers", f"{folder}/resolvers",
                                           "--output", form, f"{folder}/names"]
    return {"massdns, lines": command("S"), "massdns, JSON": command("J")}


# massdns says nothing of a name that it lost.
COMPLETE = 0.999
