"""The tables of the page on speed, from the file that `make bench` writes."""

import json
from pathlib import Path

from pages import table

TITLES = {
    "training": "Training",
    "embedding": "Embedding",
    "reading": "Reading",
    "curves": "Label curves",
    "maps": "Maps and neighbours",
    "cutting": "Cutting",
    "architectures": "Which network to start with",
    "starting": "Starting",
}


def performance_tables(path):
    """Markdown of what `benchmarks/bench.py` measured, a table a section.

    Parameters
    ----------
    path : path-like
        `bench.json`.

    Returns
    -------
    str
    """
    bench = json.loads(Path(path).read_text())
    machine = bench["machine"]
    parts = [
        f"Measured with {machine['threads']} threads on {machine['cores']} cores ({machine['processor']}), "
        f"{machine['memory_gb']} GB of memory, {'GPU: ' + machine['gpu'] if machine['gpu'] else 'no GPU'}, "
        f"{machine['system']}."
    ]
    for name, title in TITLES.items():
        if name in bench["sections"]:
            parts += [f"## {title}", *_tables(bench["sections"][name]["rows"])]
    versions = [(name, version or "not installed") for name, version in bench["versions"].items()]
    return "\n\n".join([*parts, "## Versions", table(["Package", "Version"], versions)]) + "\n"


def _tables(rows):
    """Ratios, values without a peer, and quality, each in a table of its own where there is something to say."""
    ratios = [
        (
            row["what"],
            f"{row['ours']}: {_number(row['sides'][row['ours']])} {row['unit']}",
            f"{row['peer']}: {_number(row['sides'][row['peer']])} {row['unit']}",
            *_measured(row),
        )
        for row in rows
        if "peer" in row
    ]
    values = [(row["what"], row["unit"] or "number", *_measured(row)) for row in rows if "peer" not in row]
    quality = {
        (row["what"], name): ", ".join(f"{key.replace('_', ' ')} {_number(score)}" for key, score in scores.items())
        for row in rows
        for name, scores in _qualities(row)
    }
    tail = ["Median (range)", "Turns", "Limit", "Kept"]
    found = []
    if ratios:
        found.append(table(["What", "Ours", "Peer", *tail], ratios))
    if values:
        found.append(table(["What", "Unit", *tail], values))
    if quality:
        found.append(table(["What", "Side", "Quality"], [(*key, text) for key, text in quality.items()]))
    return found


def _qualities(row):
    quality = row.get("quality", {})
    return quality.items() if all(isinstance(one, dict) for one in quality.values()) else [(row["ours"], quality)]


def _measured(row):
    limits = [f"{sign} {row[key]:g}" for key, sign in (("at_least", "≥"), ("at_most", "≤")) if row[key] is not None]
    spread = f" ({_number(row['low'])} to {_number(row['high'])})" if row["repeats"] > 1 else ""
    return (
        _number(row["median"]) + spread,
        row["repeats"],
        " ".join(limits),
        {True: "✓", False: "✗"}.get(row["met"], ""),
    )


def _number(value):
    """Three figures, and thousands in full."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
