"""What a run measured, beside the figures and claims of the paper: parts of the page "Reproduce the paper".

Each function takes the summary of a run and returns Markdown. A part that the run lacks says so instead.
"""

import base64

import nbformat
from pages import table

FEW, MORPHOLOGY, LOOK = "03_few_shot_classification", "06_morphology_and_mergers", "04_see_what_it_learned"
PRETRAIN, RECIPES = "02_pretrain_on_properties", "07_what_to_pretrain_on"
# The figures of the run that stand beside the paper's: chapter, and words that the alternative text of each holds.
FIGURES = {
    "figure_sg": (FEW, ("accuracy against labels", "star/galaxy:")),
    "figure_sgq": (FEW, ("accuracy against labels", "star/galaxy/quasar:")),
    "figure_morphology": (MORPHOLOGY, ("accuracy against labels",)),
    "figure_maps": (LOOK, ("t-sne", "stars, galaxies and quasars")),
    "figure_map_mg": (MORPHOLOGY, ("t-sne", "merging")),
}


def comparisons(summary):
    """Return the generated parts of the page by name, figures apart."""
    sections = summary.get("sections", {})
    few, morphology = sections.get(FEW, {}), sections.get(MORPHOLOGY, {})
    shapes = [task for task in morphology.get("balanced_accuracy", {}) if task != "columns"]
    return {
        "setting": setting(summary),
        **{f"curve_{task}": curve(task, few.get("accuracy", {}).get(task)) for task in ("sg", "sgq")},
        "curve_morphology": "\n\n".join(curve(task, morphology["balanced_accuracy"][task]) for task in shapes),
        **{
            f"against_{other}": against(few, morphology, other)
            for other in ("imagenet", "scratch", "photometry", "catalogue", "small")
        },
        "clusters": clusters(sections),
        "recipes": recipes(sections.get(RECIPES)),
        "pretext_error": pretext_error(sections.get(PRETRAIN)),
        "real_pictures": real_pictures(sections.get("own_pictures")),
    }


def lacks(name):
    """Return the sentence for a part that needs a chapter which the run lacks."""
    return f"*This run lacks notebook {name[:2]}, which measures this: the preset `laptop` runs it.*"


def setting(summary):
    """Return what was run, for the head of the page."""
    sections = summary.get("sections", {})
    rows = [("Preset", summary["preset"])]
    fetched, pretrained = sections.get("01_fetch_sdss_cutouts"), sections.get(PRETRAIN)
    if fetched:
        rows += [("Archive", fetched["archive"])]
        objects = fetched["objects"] | sections.get(MORPHOLOGY, {}).get("objects", {})
        rows += [("Objects", ", ".join(f"{number:,} {name}" for name, number in objects.items()))]
        rows += [("Objects both in the pretext set and in SG or SGQ", fetched["overlap"])]
    if pretrained:
        seen = ("arch", "Network"), ("stretch", "Input"), ("epochs", "Epochs of pretraining"), ("seed", "Seed")
        rows += [(label, pretrained[key]) for key, label in seen]
    if FEW in sections:
        rows += [("Protocol of the curves", sections[FEW]["protocol"])]
    return table(["This run", "Value"], rows)


def interval(mean, low, high, form=".3f"):
    """Return a mean with its interval, which no line breaks."""
    return f"{mean:{form}} [{low:{form}},\N{NO-BREAK SPACE}{high:{form}}]"


def holds(low, high):
    """Return what an interval of a difference says of the claim that it is above 0."""
    return "yes" if low > 0 else "the reverse" if high < 0 else "open"


def curve(task, rows):
    """Return the curve of a task as a table to unfold, a line an arm and a probe, from recorded rows."""
    if not rows:
        return ""  # the figure above it says so
    sizes = sorted({row[2] for row in rows})
    lines = {}
    for arm, probe, size, *found in rows:
        lines.setdefault((arm, probe), {})[size] = interval(*found)
    header = ["Arm", "Probe", *(f"{size} labels a class" for size in sizes)]
    numbers = table(header, [(*line, *(cells.get(size, "") for size in sizes)) for line, cells in lines.items()])
    return f":::{{dropdown}} {task.upper()} in numbers: mean and 95 % interval\n{numbers}\n:::"


def against(few, morphology, other):
    """Return the table of paired differences between *pretext* and another arm, each line a claim that holds or not."""
    rows = []
    for task, versus, *found in few.get("paired_differences", []):
        arm, probe = versus.split(", ")
        # notebook 03 compares at the first size that was fine-tuned
        size = next((row[2] for row in few["accuracy"][task.lower()] if row[1] == "finetune"), "")
        if arm == other:
            rows.append((task, size, f"linear, {probe}", found))
    for task, size, better, worse, *found, _ in morphology.get("verdicts", []):
        (arm, probe), (versus, with_probe) = better.split(), worse.split()
        if arm == "pretext" and versus == other:
            rows.append((task.upper(), size, f"{probe}, {with_probe}", found))
    rows = [(*about, interval(*found, "+z.3f"), holds(*found[1:])) for *about, found in rows]
    missing = [lacks(name) for name, section in ((FEW, few), (MORPHOLOGY, morphology)) if not section]
    header = ["Task", "Labels a class", "Probe of *pretext*, of the other", f"*pretext* minus *{other}*", "Better?"]
    return "\n\n".join([table(header, rows)] * bool(rows) + missing)


def clusters(sections):
    """Return the table of agreement between classes and k-means clusters on the features."""
    rows = [
        (found["task"].upper(), found["arm"], f"{found['nmi']:.3f}", f"{found['ari']:.3f}")
        for found in sections.get(LOOK, {}).get("scores", [])
    ]
    rows += [
        ("MG", name, f"{found['nmi']:.3f}", f"{found['ari']:.3f}")
        for name, found in sections.get(MORPHOLOGY, {}).get("maps", {}).items()
    ]
    missing = [lacks(name) for name in (LOOK, MORPHOLOGY) if name not in sections]
    return "\n\n".join([table(["Task", "Features", "NMI", "ARI"], rows)] * bool(rows) + missing)


def recipes(section):
    """Return the table of pretraining recipes: each difference from magnitudes alone."""
    if not section:
        return lacks(RECIPES)
    rows = [
        (task.upper(), name, interval(*found, "+z.3f"), holds(*found[1:]))
        for task, name, *found in section["differences"]
    ]
    return table(["Task", "Recipe", "minus magnitudes alone", "Better?"], rows)


def pretext_error(section):
    """Return the table of the pretext task's error, a line a band."""
    if not section:
        return lacks(PRETRAIN)
    columns = ("mae_mag", "mae_of_the_mean_mag", "mae_of_the_catalogue_mag")
    rows = [(band, *(f"{section[column][band]:.3f}" for column in columns)) for band in section["mae_mag"]]
    return table(["Band", "Network (mag)", "Always the mean (mag)", "The catalogue's own (mag)"], rows)


def real_pictures(section):
    """Return the table of what `benchmarks/own_pictures.py` recorded: a backbone against others on real pictures."""
    if not section:
        return "*No pictures were tried with this run: `benchmarks/own_pictures.py` with `--record` does it.*"
    rows = [
        (size, better, worse, interval(*found, "+z.3f"), holds(*found[1:]))
        for size, better, worse, *found, _ in section["verdicts"]
    ]
    scores = curve("own pictures", section["balanced_accuracy"])
    return f"{table(['Labels a class', 'Arm', 'minus', 'Difference', 'Better?'], rows)}\n\n{scores}"


def figure_cells(notebook, words):
    """Return the cells of a notebook whose figure has an alternative text with these words."""
    alts = [(cell, cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")) for cell in notebook.cells]
    return [(cell, alt) for cell, alt in alts if all(word in alt.lower() for word in words)]


def figures(book, present):
    """Write the figures of the page as files, from the notebooks of the book, and return their Markdown by name."""
    made = {}
    for part, (name, words) in FIGURES.items():
        made[part] = lacks(name)
        if name in present:
            notebook = nbformat.read(book / "notebooks" / f"{name}.ipynb", as_version=4)
            pictures = [
                (output.data["image/png"], alt)
                for cell, alt in figure_cells(notebook, words)
                for output in cell.get("outputs", [])
                if "image/png" in output.get("data", {})
            ]
            shown = []
            for number, (picture, alt) in enumerate(pictures):
                path = book / "generated" / f"{part}_{number}.png"
                path.write_bytes(base64.b64decode(picture))
                shown.append(
                    f"```{{figure}} generated/{path.name}\n:alt: {alt}\n\nOurs: [](notebooks/{name}.ipynb).\n```"
                )
            made[part] = "\n\n".join(shown) or f"*The figure is in* [](notebooks/{name}.ipynb)."
    return made
