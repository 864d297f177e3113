"""The pages and parts of pages that the build writes: the map, the parameters, what a run measured."""

import ast
import html

from chapters import tree

# What a page of results of the practice sky begins with.
SIMULATED = (
    "**The sky of this run was simulated**: it took the archive `practice`. The numbers say how the methods compare "
    "there, and nothing of SDSS."
)


def table(header, rows):
    """Return a Markdown table, with the characters that Markdown would take for its own escaped."""
    lines = [header, ["---"] * len(header)] + [
        [str(cell).replace("|", "\\|").replace("$", "\\$") for cell in row] for row in rows
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def duration(seconds):
    """Return a run time for people."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def map_tree(chapters):
    """Return nested lists of chapters, each under the last one that it needs."""
    return "\n".join(
        "  " * depth + f"- {chapter.link}" + "".join(f", better after {n}" for n in chapter.welcomes)
        for depth, chapter in tree(chapters)
    )


def map_cards(chapters, summary):
    """Return a grid of cards that say what each chapter takes and gives, and how long it ran."""
    cards = ["::::{grid} 1 1 2 2", ":gutter: 3", ":class-container: course-cards", ""]
    for chapter in chapters:
        cost = summary["notebooks"].get(chapter.name)
        lines = [
            ("You will learn", chapter.learn),
            ("Needs", ", ".join(chapter.needs) or "no other"),
            ("Takes", chapter.takes.replace("`runs/<run>/", "`")),
            ("Gives", chapter.gives.replace("`runs/<run>/", "`")),
            ("Ran for", duration(cost["seconds"]) if cost else ""),
        ]
        cards += [f":::{{grid-item-card}} {chapter.link}"]
        cards += ["\n\n".join(f"**{name}**: {text}" for name, text in lines if text), ":::"]
    return "\n".join([*cards, "::::"])


def parameters_page(chapters, known, presets):
    """Return the page of all parameters.

    Parameters
    ----------
    chapters : list of Chapter
    known : dict
        Chapter name to what papermill found in its cell tagged `parameters`.
    presets : dict
        Preset name to a mapping from the chapters that it runs to the values that it sets.
    """
    sections = [
        "# Parameters",
        "The build writes this page from the cells tagged *parameters*. In JupyterLab, change that cell. In a batch, "
        "write the values into a preset such as `notebooks/presets/quick.yml`, or give them to papermill with `-p`; "
        "`make course` refuses misspelt names and values of another type before anything runs. Where a preset keeps "
        "the default, its column is empty. `run`, the name of the folder in `runs/`, is set by `make course RUN=name`.",
    ]
    for chapter in chapters:
        absent = [preset for preset, values in presets.items() if chapter.name not in values]
        shown = [preset for preset in presets if preset not in absent]
        rows = [
            (
                f"`{name}`",
                html.escape(found["help"], quote=False),
                f"`{found['default']}`",
                *(preset_value(presets[preset][chapter.name], name, found["default"]) for preset in shown),
            )
            for name, found in known[chapter.name].items()
            if name != "run"
        ]
        sections += [f"## {chapter.number} {chapter.title}", f"{chapter.link}, `notebooks/{chapter.name}.ipynb`"]
        sections += [f"The preset `{preset}` leaves this notebook out." for preset in absent]
        sections += [table(["Parameter", "What it is", "Default", *(f"`{preset}`" for preset in shown)], rows)]
    return "\n\n".join(sections) + "\n"


def preset_value(values, name, default):
    """Return what a preset sets a parameter to, as Python source, or nothing where that is the default."""
    source = repr(values.get(name)).replace("'", '"')
    return "" if name not in values or ast.literal_eval(default) == values[name] else f"`{source}`"


def measured_page(summary, run, chapters, presets):
    """Return the page with what a run measured: results, run times, memory, versions."""
    link = {chapter.name: chapter.link for chapter in chapters}
    machine, costs, recorded = summary["machine"], summary["notebooks"], summary.get("sections", {})
    simulated = recorded.get("01_fetch_sdss_cutouts", {}).get("archive") == "practice"
    others = " Those of *Own pictures* are not of that sky." if "own_pictures" in recorded else ""
    results = [
        (link.get(name, name.replace("_", " ").capitalize()), *row)  # a script may have recorded something too
        for name, section in recorded.items()
        for row in section.get("headline", [])
    ]
    rows = [(link[name], duration(cost["seconds"]), cost["peak_memory_mb"]) for name, cost in sorted(costs.items())]
    rows += [
        (
            "**All**",
            duration(sum(cost["seconds"] for cost in costs.values())),
            max(cost["peak_memory_mb"] for cost in costs.values()),
        )
    ]
    gone = summary.get("left_out", [])
    left_out = ", ".join(f"{chapter.number} {chapter.title}" for chapter in chapters if chapter.name in gone)
    sections = [
        "# What this run measured",
        *[SIMULATED + others] * simulated,
        f"The build writes this page from `runs/{run}/summary.json`, which holds many more numbers. "
        f"The run used the preset `{summary['preset']}`"
        + (", whose values are among the [parameters](parameters.md)." * (summary["preset"] in presets) or "."),
        f"The preset left these notebooks out: {left_out}." if left_out else "It ran every notebook of the course.",
        "## Results",
        table(["Notebook", "Quantity", "Value"], results),
        "## Run time and memory",
        f"Measured on {machine['cores']} cores ({machine['processor']}) with {machine['memory_gb']} GB of memory, "
        f"{machine['system']}. The memory is the most that a kernel and the processes it started held together.",
        table(["Notebook", "Run time", "Peak memory (MB)"], rows),
        "## Versions",
        table(["Package", "Version"], summary["versions"].items()),
    ]
    return "\n\n".join(sections) + "\n"
