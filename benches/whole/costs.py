"""Where the time goes: perf under one row's work, a flame graph, and the largest costs.

Called by scripts/profile [ROW].
"""
import collections
import contextlib
import re
import signal
import subprocess
import sys
import time

import answering
import crawl
import machine
import tools
from machine import Failed, Process
from swarm import Crawler, Swarm

HERTZ, STACK_BYTES, MOST = 499, 16_384, 10
OUT = tools.TARGET / "profile"


def main(arguments):
    name = arguments[0] if arguments else "crawl"
    kinds = {ask: lambda folder, ask=ask: answer(folder, ask) for ask in answering.ASKS}
    works = {**kinds, "crawl": crawl_all, "sweep": sweep_all, "metadata": fetch_all, "names": look_up_all}
    if name not in works:
        sys.exit(f"scripts/profile: unknown {name}; known: {', '.join(works)}")
    OUT.mkdir(parents=True, exist_ok=True)
    data = OUT / f"{name}.perf"
    with machine.folder() as folder, contextlib.ExitStack() as stack:
        process, work = stack.enter_context(works[name](folder))
        recorder = subprocess.Popen(
            ["perf", "record", "-q", "-F", str(HERTZ), "--call-graph", f"dwarf,{STACK_BYTES}", "-p", str(process.pid),
             "-o", str(data)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(0.5)
        work()
        recorder.send_signal(signal.SIGINT)
        failure = recorder.communicate()[1]
    if not data.exists():
        raise Failed(f"perf recorded nothing: {failure}")
    stacks = fold(data)
    (OUT / f"{name}.folded").write_text("".join(f"{stack} {count}\n" for stack, count in sorted(stacks.items())))
    graph = OUT / f"{name}.svg"
    with graph.open("w") as svg:
        subprocess.run([tools.flamegraph(), "--title", f"dht-hunter: {name}", OUT / f"{name}.folded"], stdout=svg, check=True)
    total = sum(stacks.values())
    print(f"{total} samples; flame graph: {graph.relative_to(tools.ROOT) if graph.is_relative_to(tools.ROOT) else graph}")
    for title, of in (("function", leaf), ("owner", owner)):
        costs = collections.Counter()
        for stack_, count in stacks.items():
            costs[of(stack_)] += count
        print(f"\nlargest by {title}, itself alone")
        for what, count in costs.most_common(MOST):
            print(f"{count / total:7.1%}  {what}")


@contextlib.contextmanager
def answer(folder, ask):
    """A node under the load of one kind of query."""
    port, load = machine.free_port(), machine.free_port()
    # Building it later would replace the program under way, and perf would not find its names.
    program = tools.bench("load")
    with Process(answering.command(folder, port, load), machine.MEASURED, f"{folder}/node.log") as node:
        asker = Process([program, "--to", f"127.0.0.1:{port}", "--pid", node.pid, "--port", load, "--seconds", 12,
                         "--ask", ask], machine.OTHER, f"{folder}/load.log", stdout=subprocess.PIPE)
        with asker:
            asker.child.stdout.readline()
            # Announcing and what follows from it is over then.
            time.sleep(0 if ask == "find_node" else 6)
            yield node, lambda: asker.child.wait()


@contextlib.contextmanager
def crawl_all(folder):
    with Swarm(folder, crawl.NODES, crawl.TORRENTS) as swarm, Crawler(folder, swarm.bootstrap) as crawler:
        yield crawler, lambda: crawl.until_stored(crawler, swarm.reachable * crawl.SHARE)


@contextlib.contextmanager
def sweep_all(folder):
    with Swarm(folder, 300_000, 0) as swarm, Crawler(folder, swarm.bootstrap) as crawler:
        def all_asked():
            stats = swarm.stats()
            return stats.get("nodes_asked", 0) >= 0.99 * stats.get("live", 300_000)
        yield crawler, lambda: machine.wait_for("the sweep", 120, all_asked)


@contextlib.contextmanager
def fetch_all(folder):
    with Swarm(folder, 1, 20_000) as farm:
        with Process([tools.bench("fetch"), "engine", "--hashes", farm.list, "--port", farm.port, "--open", 2_000],
                     machine.MEASURED, f"{folder}/fetch.log") as fetcher:
            yield fetcher, lambda: fetcher.child.wait()


@contextlib.contextmanager
def look_up_all(folder):
    with open(f"{folder}/names", "w") as file:
        file.writelines(f"host{number}.example.test\n" for number in range(3_000_000))
    with Process([tools.compiled("names"), "answer"], machine.OTHER, stdout=subprocess.PIPE) as responder:
        port = int(responder.child.stdout.readline())
        with open(f"{folder}/out", "wb") as out:
            with Process([tools.hunter(), "resolve", "--file", f"{folder}/names", "--type", "A", f"@127.0.0.1:{port}"],
                         machine.MEASURED, f"{folder}/names.log", stdout=out) as resolver:
                yield resolver, lambda: resolver.child.wait()


def fold(data):
    """Stacks from the root to the leaf, with how often each was seen."""
    script = subprocess.Popen(["perf", "script", "--no-inline", "-F", "ip,sym,dso", "-i", str(data)], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
    stacks, stack = collections.Counter(), []
    for line in script.stdout:
        if line.strip():
            stack.append(frame(line))
        elif stack:
            stacks[";".join(reversed(stack))] += 1
            stack = []
    if stack:
        stacks[";".join(reversed(stack))] += 1
    return stacks


def frame(line):
    """`address symbol (object)` as a name; of the kernel's, marked as perf's tools do."""
    found = re.match(r"\s*[0-9a-f]+\s+(.*?)\s+\((.*)\)\s*$", line)
    if not found:
        return "?"
    symbol, where = found.groups()
    symbol = re.sub(r"::h[0-9a-f]{16}$", "", re.sub(r"\+0x[0-9a-f]+$", "", symbol)).replace(";", ":")
    return f"{symbol}_[k]" if "kernel" in where or where.startswith("[") else symbol


def leaf(stack):
    return stack.rsplit(";", 1)[-1]


def owner(stack):
    """The crate or library that the innermost frame belongs to."""
    name = leaf(stack)
    if name.endswith("_[k]"):
        return "the kernel"
    if name.startswith("sqlite3") or "sqlite3" in name:
        return "sqlite"
    if name.startswith("aws_lc") or "sha1_" in name or "sha256_" in name:
        return "aws-lc"
    room = re.search(r"\bdht_hunter::(\w+)", name)
    if room:
        return f"dht_hunter::{room.group(1)}"
    crate = re.match(r"<?(?:&|mut |dyn )*(\w+)::", name)
    return crate.group(1) if crate else "libc and others"


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Failed as failure:
        sys.exit(f"scripts/profile: {failure}")
