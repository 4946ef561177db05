"""Measures the whole program against limits and peers: called by scripts/bench."""
import datetime
import sys
import time

import answering
import archive
import crawl
import idle
import listening
import machine
import metadata
import names
import results
import sweep
import table
import tools
import warming

ROWS = {"answering": answering.row, "crawl": crawl.row, "sweep": sweep.row, "metadata": metadata.row,
        "archive": archive.row, "idle": idle.row, "names": names.row, "listening": listening.row, "warming": warming.row}


def main(arguments):
    chosen = [argument for argument in arguments if not argument.startswith("--")]
    wish = Wish(peers="--ours" not in arguments)
    unknown = [name for name in chosen if name not in ROWS]
    if unknown:
        sys.exit(f"scripts/bench: unknown {', '.join(unknown)}; known: {', '.join(ROWS)}")
    measures = []
    for name in chosen or ROWS:
        try:
            for measure in ROWS[name](wish):
                measures.append(measure)
        except machine.Failed as failure:
            wish.without(name, failure)
    text = report(measures, wish.failures)
    print(text)
    if not arguments:
        results.replace("Against limits and peers", text)
    short = [measure for measure in measures if measure.passes() is False]
    sys.exit(1 if short or wish.failures else 0)


class Wish:
    """What every row must know."""

    def __init__(self, peers):
        self.began = time.monotonic()
        self.peers = peers
        self.failures = []

    def without(self, what, failure):
        """Goes on without a measurement; the report says so."""
        self.failures.append(f"{what}: {failure}")
        self.say(self.failures[-1])

    def say(self, what):
        print(f"{time.monotonic() - self.began:6.0f} s  {what}", file=sys.stderr, flush=True)


def report(measures, failures):
    facts = {**machine.describe(), **tools.versions(), "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"}
    lines = ["Every figure and what it is compared with are of the same run.", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += ["", table.markdown(measures)]
    lines += [f"\nNot measured: {failure}" for failure in failures]
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
