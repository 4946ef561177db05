"""What was measured, against what, and whether that is enough."""
import dataclasses


@dataclasses.dataclass
class Measure:
    """One line of the table. `value` is ours, `limit` the best that could be; ratios are of it."""

    what: str
    value: float
    unit: str
    limit: float = None
    peers: dict = dataclasses.field(default_factory=dict)
    # Bounds of `judged`; `least` for what is to be large, `most` for what is to be small.
    judged: float = None
    least: float = None
    most: float = None
    aim: float = None
    note: str = ""

    def passes(self):
        if self.judged is None or (self.least is None and self.most is None):
            return None
        return self.judged >= self.least if self.least is not None else self.judged <= self.most


def ratio(what, value, unit, limit, least, aim=None, peers=None, note=""):
    """A line that is judged by its share of the limit."""
    return Measure(what, value, unit, limit, peers or {}, value / limit, least=least, aim=aim, note=note)


def at_most(what, value, unit, most, peers=None, note=""):
    return Measure(what, value, unit, None, peers or {}, value, most=most, note=note)


def at_least(what, value, unit, least, peers=None, note="", aim=None):
    return Measure(what, value, unit, None, peers or {}, value, least=least, aim=aim, note=note)


HEAD = ["what", "ours", "limit", "of the limit", "must", "aim", "verdict", "others (ours / theirs)", "note"]


def markdown(measures):
    """The table, in columns of equal width."""
    rows = [HEAD] + [line(measure) for measure in measures]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows)


def line(measure):
    bound = ""
    if measure.least is not None:
        bound = f">= {number(measure.least)}"
    elif measure.most is not None:
        bound = f"<= {number(measure.most)}"
    verdict = {None: "", True: "pass", False: "SHORT"}[measure.passes()]
    others = ", ".join(f"{name} {number(value)} ({measure.value / value:.2f}x)" for name, value in measure.peers.items() if value)
    return [
        measure.what,
        f"{number(measure.value)} {measure.unit}",
        number(measure.limit) if measure.limit else "",
        f"{measure.value / measure.limit:.2f}" if measure.limit else "",
        bound,
        number(measure.aim) if measure.aim is not None else "",
        verdict,
        others,
        measure.note,
    ]


def number(value):
    """With three figures or all before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"
