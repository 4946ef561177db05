"""Questions of others per CPU-second, answered from memory: the listener, unbound, the least that answering costs."""
import contextlib
import json
import statistics
import subprocess

import machine
import tools
from machine import Failed, Process
from table import Measure, at_least

NAMES, COUNT, OPEN, ROUNDS = 10_000, 1_500_000, 1_024, 5
LIMIT_LEAST, PEER_LEAST = 0.7, 1.2


def row(wish):
    asker = tools.compiled("names")
    with machine.folder() as folder, contextlib.ExitStack() as stack:
        known = stack.enter_context(Process([asker, "answer"], machine.OTHER, f"{folder}/known.log", stdout=subprocess.PIPE))
        upstream = int(known.child.stdout.readline())
        servers = {"ours": stack.enter_context(ours(folder, upstream)), "limit": stack.enter_context(limit(folder, upstream))}
        if wish.peers:
            try:
                servers["unbound"] = stack.enter_context(unbound(folder, upstream))
            except Failed as failure:
                wish.say(f"listening: without unbound: {failure}")
        for name, (_, port) in servers.items():
            warm(name, asker, folder, port)
        rounds = {name: [] for name in servers}
        # In turn, so that what else the machine does meets all of them.
        for number in range(ROUNDS):
            wish.say(f"listening: round {number + 1}")
            for name, (server, port) in servers.items():
                rounds[name].append(per_cpu_second(name, server, asker, folder, port))
    rates = {name: statistics.median(figures) for name, figures in rounds.items()}
    rate, bound = rates["ours"], rates["limit"]
    peers = {"unbound": rates["unbound"]} if "unbound" in rates else {}
    yield Measure("listening: answers from memory", rate, "per CPU-second", bound, peers, judged=rate / bound,
                  least=LIMIT_LEAST, note=f"{NAMES:,} names by turns, {COUNT:,} questions")
    if peers:
        yield at_least("listening: of what unbound answers", rate / peers["unbound"], "times", PEER_LEAST)


def warm(name, asker, folder, port):
    """What will be asked for is asked for before."""
    # Whoever starts slowly loses the first ones.
    machine.wait_for(f"an answer of {name}", 20, lambda: ask(asker, folder, port, 64, 64, 64)["answered"] == 64)
    # Few at a time, so that nothing is lost on the way to whom it asks.
    machine.wait_for(f"all names of {name}", 60, lambda: ask(asker, folder, port, NAMES, 128, NAMES)["answered"] == NAMES)


def per_cpu_second(name, server, asker, folder, port):
    before = server.cpu_seconds()
    said = ask(asker, folder, port, COUNT, OPEN, NAMES)
    if said["answered"] < COUNT:
        raise Failed(f"{name} answered {said['answered']:,} of {COUNT:,}{server.words()}")
    return COUNT / (server.cpu_seconds() - before)


def ask(asker, folder, port, count, open_max, names):
    command = [asker, "ask", port, count, open_max, names]
    with Process(command, machine.OTHER, f"{folder}/ask.log", stdout=subprocess.PIPE) as process:
        return json.loads(process.child.stdout.readline() or '{"answered": 0}')


@contextlib.contextmanager
def ours(folder, upstream):
    port = machine.free_port()
    command = [tools.hunter(), "run", "--listen", "127.0.0.1:0", "--bootstrap", "127.0.0.1:9", "--data-dir", f"{folder}/data",
               "--profile", "max", "--dns", f"127.0.0.1:{port}", "--dns-forwarder", f"127.0.0.1:{upstream}"]
    with Process(command, machine.MEASURED, f"{folder}/ours.log") as server:
        yield server, port


@contextlib.contextmanager
def limit(folder, _):
    with Process([tools.compiled("names"), "answer"], machine.MEASURED, f"{folder}/limit.log", stdout=subprocess.PIPE) as server:
        yield server, int(server.child.stdout.readline())


@contextlib.contextmanager
def unbound(folder, upstream):
    program, port = tools.installed("unbound"), machine.free_port()
    with open(f"{folder}/unbound.conf", "w") as file:
        file.write(UNBOUND.format(port=port, upstream=upstream, folder=folder))
    with Process([program, "-d", "-c", f"{folder}/unbound.conf"], machine.MEASURED, f"{folder}/unbound.log") as server:
        yield server, port


# One thread, as ours; nothing is validated and nobody but `upstream` is asked, as with ours.
UNBOUND = """server:
  interface: 127.0.0.1@{port}
  num-threads: 1
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  do-ip6: no
  do-not-query-localhost: no
  access-control: 127.0.0.0/8 allow
  module-config: "iterator"
  msg-cache-size: 64m
  rrset-cache-size: 64m
  so-rcvbuf: 4m
  so-sndbuf: 4m
  minimal-responses: yes
  local-zone: "test." nodefault
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{upstream}
remote-control:
  control-enable: no
"""
