"""A long run against a DHT that comes and goes: does anything grow, leak or get stuck?

Called by scripts/soak [MINUTES]. Every phase is the swarm started again, with other torrents and
with everybody who had come back under another id under the first one again; its nodes churn, lie
and lose packets. Every ten seconds a sample is taken.
"""
import dataclasses
import os
import socket
import statistics
import sys
import time

import machine
import results
from machine import Failed
from swarm import Crawler, Swarm

NODES = TORRENTS = 10_000
CHARACTER = ["--peers", "3", "--churn", "2", "--hostile", "10", "--dead", "10", "--dead-peers", "10", "--loss", "2"]
# A node that has said all it has is left alone for five minutes: then the new torrents come.
PHASES, PHASE_SECONDS_MIN, SAMPLE_SECONDS, PINGS = 3, 330, 10, 5
# What the archive's index and the nodes of more swarms may add.
GROWTH, GROWTH_MB = 1.10, 8
DESCRIPTORS_MORE = 16
# A swarm that lies and loses; half of what could be had is progress beyond doubt.
PROGRESS = 0.5
LAG_TYPICAL_MS, LAG_WORST_MS = 20, 1_000


@dataclasses.dataclass
class Sample:
    seconds: float
    phase: int
    rss_mb: float
    descriptors: int
    threads: int
    stored: int
    cpu: float
    lag_ms: float


def main(minutes):
    seconds = minutes * 60
    length = max(PHASE_SECONDS_MIN, seconds / PHASES)
    samples, progress = [], []
    with machine.folder() as folder:
        port = machine.free_port()
        swarm = start(folder, port, 0)
        with Crawler(folder, swarm.bootstrap) as crawler:
            began, phase, phase_began, stored_before = time.monotonic(), 0, time.monotonic(), 0
            try:
                while (now := time.monotonic()) - began < seconds:
                    if now - phase_began >= length:
                        progress.append((samples[-1].stored - stored_before) / swarm.reachable)
                        stored_before = samples[-1].stored
                        swarm.stop()
                        phase, phase_began = phase + 1, now
                        swarm = start(folder, port, phase)
                    time.sleep(SAMPLE_SECONDS)
                    samples.append(sample(crawler, time.monotonic() - began, phase))
                    print(samples[-1], file=sys.stderr, flush=True)
                progress.append((samples[-1].stored - stored_before) / swarm.reachable)
            finally:
                swarm.stop()
            crawler.close()
    verdicts = judge(samples, progress)
    text = report(minutes, samples, verdicts)
    print(text)
    if minutes >= 20:
        results.replace("Soak", text)
    sys.exit(0 if all(held for _, _, _, held in verdicts) else 1)


def start(folder, port, phase):
    return Swarm(folder, NODES, TORRENTS, "--torrents-seed", phase + 1, *CHARACTER, port=port)


def sample(crawler, seconds, phase):
    if not crawler.runs():
        raise Failed(f"the crawler ended{crawler.words()}")
    return Sample(round(seconds), phase, round(crawler.memory("VmRSS") / 1e6, 1), crawler.descriptors(), crawler.threads(),
                  crawler.stored(), crawler.cpu_seconds(), round(lag_ms(crawler), 2))


def lag_ms(crawler):
    """How long its node takes to answer a ping: the worst of some. The loop does all else meanwhile."""
    worst = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.bind(("127.0.0.1", 0))
        asker.settimeout(5)
        for _ in range(PINGS):
            sent = time.monotonic()
            asker.sendto(b"d1:ad2:id20:" + os.urandom(20) + b"e1:q4:ping2:roi1e1:t2:pp1:y1:qe", ("127.0.0.1", crawler.port))
            asker.recv(2048)
            worst = max(worst, time.monotonic() - sent)
            time.sleep(0.05)
    return worst * 1e3


def judge(samples, progress):
    """What, the bound, what it was, and whether it held."""
    # Whole phases are compared: each begins with a burst of work and ends in quiet.
    first = 1 if samples[-1].phase > 1 else 0
    early, late = ([one for one in samples if one.phase == phase] for phase in (first, samples[-1].phase))
    before, after = max(one.rss_mb for one in early), max(one.rss_mb for one in late)
    bound = before * GROWTH + GROWTH_MB
    fewest_early, fewest_late = (min(one.descriptors for one in part) for part in (early, late))
    lags = [one.lag_ms for one in samples]
    typical, worst = statistics.median(lags), max(lags)
    threads = max(one.threads for one in late) - max(one.threads for one in early)
    return [
        (f"memory at most in swarm {first + 1} and in the last", f"<= {bound:.0f} MB", f"{before:.0f} MB, then {after:.0f} MB", after <= bound),
        ("descriptors when least is going on", f"<= {fewest_early + DESCRIPTORS_MORE}", f"{fewest_early}, then {fewest_late}",
         fewest_late <= fewest_early + DESCRIPTORS_MORE),
        ("threads", "no more", f"{threads:+}", threads <= 0),
        (f"stored in the least good of {len(progress)} swarms", f">= {PROGRESS:.0%}", f"{min(progress):.1%}", min(progress) >= PROGRESS),
        ("a ping's answer, typically", f"<= {LAG_TYPICAL_MS} ms", f"{typical:.1f} ms", typical <= LAG_TYPICAL_MS),
        ("a ping's answer, at worst", f"<= {LAG_WORST_MS} ms", f"{worst:.0f} ms", worst <= LAG_WORST_MS),
    ]


def report(minutes, samples, verdicts):
    lines = [f"{minutes:g} minutes, {samples[-1].phase + 1} swarms of {NODES:,} nodes and {TORRENTS:,} torrents one after another "
             f"(`{' '.join(CHARACTER)}`), {samples[-1].stored:,} torrents stored in {samples[-1].cpu:.0f} s of CPU; it ended well and "
             "`db check` found nothing.", "", "| what | must | was | verdict |", "|---|---|---|---|"]
    lines += [f"| {what} | {bound} | {was} | {'pass' if held else 'SHORT'} |" for what, bound, was, held in verdicts]
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 20)
    except Failed as failure:
        sys.exit(f"scripts/soak: {failure}")
