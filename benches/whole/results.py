"""benches/RESULTS.md: one section for each instrument, each rewritten by its own."""
import tools

FILE = tools.ROOT / "benches/RESULTS.md"
HEAD = "# What it reaches\n\nWritten by `scripts/bench` and `scripts/soak`.\n"


def replace(title, text):
    """Puts `text` in the place of what stood under `title`."""
    sections = {}
    if FILE.exists():
        for part in FILE.read_text().split("\n## ")[1:]:
            name, _, body = part.partition("\n")
            sections[name] = body.strip()
    sections[title] = text.strip()
    FILE.write_text(HEAD + "".join(f"\n## {name}\n\n{body}\n" for name, body in sections.items()))
