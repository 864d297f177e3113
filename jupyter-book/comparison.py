"""What a run measured, beside the figures and claims of the paper: parts of its page and of the first one.

Each function takes the summary of a run and returns Markdown. A part that the run lacks says so instead. Differences
are recorded as `paired_differences` gives them, a mapping each, with what their interval says in `holds`.
"""

import base64
import re

import nbformat
from pages import table

FEW, MORPHOLOGY, LOOK = "03_few_shot_classification", "06_morphology_and_mergers", "04_see_what_it_learned"
PRETRAIN, RECIPES = "02_pretrain_on_properties", "07_what_to_pretrain_on"
# What is compared with what, by name: (arm, other arm). An arm with itself: fine-tuned against its linear probe.
CLAIMS = {
    "imagenet": ("pretext", "imagenet"),
    "scratch": ("pretext", "scratch"),
    "photometry": ("pretext", "photometry"),
    "apertures": ("pretext", "apertures"),
    "catalogue": ("pretext", "catalogue"),
    "both": ("both", "catalogue"),
    "probe": ("pretext", "pretext"),
    "small": ("pretext", "small"),
}
# Those that open the page, in words.
IN_WORDS = {
    "imagenet": "*pretext* is better than *imagenet*",
    "scratch": "*pretext* is better than *scratch*",
    "photometry": "*pretext* is better than *photometry*, the columns that it regressed",
    "apertures": "*pretext* is better than light in circles, measured on the same pixels",
    "both": "a picture adds to what the catalogue measured",
    "probe": "fine-tuning is better than the linear probe",
}
PAPER_IN_WORDS = "*magnitudes* alone, the paper's recipe, are better than *imagenet*"
UNSUPERVISED = {"nmi": "NMI", "nmi_lengths": "NMI, lengths kept", "ari": "ARI", "precision_at_10": "Precision at 10"}
# The figures of the run that stand beside the paper's: chapter, and words of the caption of each, in lower case.
FIGURES = {
    "figure_sg": (FEW, ("accuracy against labels", "star or galaxy")),
    "figure_sgq": (FEW, ("accuracy against labels", "star, galaxy or quasar")),
    "figure_morphology": (MORPHOLOGY, ("accuracy against labels",)),
    "figure_map_sg": (LOOK, ("map of", "galaxy, star")),
    "figure_maps": (LOOK, ("map of", "galaxy, qso, star")),
    "figure_map_mg": (MORPHOLOGY, ("map of",)),
}


def comparisons(summary):
    """Return the generated parts of the page by name, figures apart."""
    sections = summary.get("sections", {})
    few, morphology = sections.get(FEW, {}), sections.get(MORPHOLOGY, {})
    shapes = [task for task in morphology.get("balanced_accuracy", {}) if task != "columns"]
    found = few.get("verdicts", []) + morphology.get("verdicts", [])
    missing = [lacks(name) for name in (FEW, MORPHOLOGY) if name not in sections]
    return {
        "setting": setting(summary),
        "claims": claims(found, sections.get(RECIPES, {}).get("paper", [])),
        **{f"curve_{task}": curve(task, few.get("accuracy", {}).get(task)) for task in ("sg", "sgq")},
        "curve_morphology": "\n\n".join(
            curve(task, morphology["balanced_accuracy"][task], "balanced accuracy") for task in shapes
        ),
        **{f"against_{name}": against(found, asked, missing) for name, asked in CLAIMS.items()},
        "efficiency": efficiency(few.get("label_efficiency"), "scratch"),
        "at_ten_labels": at_ten_labels(few.get("label_efficiency")),
        "against_columns": efficiency(few.get("against_columns"), "photometry"),
        "paper_recipe": paper_recipe(sections.get(RECIPES)),
        "five_bands": five_bands(sections.get(RECIPES)),
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
        rows += [("Objects", ", ".join(f"{number:,} {title(name)}" for name, number in objects.items()))]
        rows += [("Objects both in the pretext set and in SG or SGQ", fetched["overlap"])]
    if pretrained:
        seen = ("arch", "Network"), ("stretch", "Input"), ("epochs", "Epochs of pretraining"), ("seed", "Seed")
        rows += [(label, pretrained[key]) for key, label in seen]
    for name, label in (
        (MORPHOLOGY, "Epochs on galaxies (notebook 06)"),
        (RECIPES, "Epochs of a recipe (notebook 07)"),
    ):
        if "epochs" in sections.get(name, {}):
            rows += [(label, sections[name]["epochs"])]
    for name, label in ((FEW, "SG and SGQ"), (MORPHOLOGY, "mergers and Hubble types"), (RECIPES, "recipes")):
        if "protocol" in sections.get(name, {}):
            rows += [(f"Protocol of the curves, {label}", sections[name]["protocol"])]
    return table(["This run", "Value"], rows)


def title(task):
    """Return what the book calls a task: EF-2 for `ef2`, SG for `sg`, and other words as they are."""
    return task.upper().replace("EF", "EF-") if re.fullmatch(r"sgq?|mg|ef\d+", task) else task


def interval(mean, low, high, shown="{:.3f}".format):
    """Return a mean with its interval, which no line breaks; without one where the run had a single seed."""
    if low is None:
        return f"{shown(mean)} (one seed)"
    return f"{shown(mean)} [{shown(low)},\N{NO-BREAK SPACE}{shown(high)}]"


def signed(number):
    """Return a difference to three digits; with more where these are all 0, so that its sign is that of the verdict."""
    digits = next((n for n in (3, 4, 5, 6) if round(number, n)), 3)
    return f"{number:+z.{digits}f}"


def curve(task, rows, score="accuracy"):
    """Return the curve of a task as a table to unfold, a line per arm and a probe, from recorded rows."""
    if not rows:
        return ""  # the figure above it says so
    sizes = sorted({row[2] for row in rows})
    lines = {}
    for arm, probe, size, *found in rows:
        lines.setdefault((arm, probe), {})[size] = interval(*found)
    header = ["Arm", "Probe", *(f"{size} labels per class" for size in sizes)]
    numbers = table(header, [(*line, *(cells.get(size, "") for size in sizes)) for line, cells in lines.items()])
    return f":::{{dropdown}} {title(task)} in numbers: {score}, mean and 95 % interval\n{numbers}\n:::"


def picked(found, asked):
    """Return the differences between two arms, by task and probes and then by number of labels."""
    lines = {}
    for row in found:
        (arm, probe), (other, its_probe) = (row[side].rsplit(" ", 1) for side in ("better", "worse"))
        if (arm, other) == asked:
            lines.setdefault((title(row["task"]), f"{probe}, {its_probe}"), {})[row["n_labels"]] = row
    return lines


def against(found, asked, missing):
    """Return the table of paired differences between two arms, each cell a claim that holds or not."""
    lines = picked(found, asked)
    sizes = sorted({size for cells in lines.values() for size in cells})
    rows = [
        (*line, *(verdict(cells[size]) if size in cells else "" for size in sizes)) for line, cells in lines.items()
    ]
    header = ["Task", "Probes", *(f"{size} per class" for size in sizes)]
    return "\n\n".join([table(header, rows)] * bool(rows) + missing)


def difference(row):
    """Return a recorded difference with its interval."""
    return interval(row["mean"], row["low"], row["high"], signed)


def verdict(row):
    """Return a difference with its interval, and what it says of the claim."""
    return f"{difference(row)} {row['holds']}"


def claims(found, paper):
    """Return the table that opens the page: how often each claim holds, over tasks and numbers of labels."""
    asked = [(words, found, CLAIMS[name]) for name, words in IN_WORDS.items()]
    asked.insert(1, (PAPER_IN_WORDS, paper, ("magnitudes", "imagenet")))
    rows = []
    for words, differences, arms in asked:
        by_probes = {}
        for (_, probes), cells in picked(differences, arms).items():
            by_probes.setdefault(probes, []).extend(row["holds"] for row in cells.values())
        rows += [
            (words, probes, *(answers.count(answer) for answer in ("yes", "open", "the reverse")))
            for probes, answers in by_probes.items()
        ]
    return table(["Claim", "Probes", "yes", "open", "the reverse"], rows)


def efficiency(by_task, baseline):
    """Return the table of label efficiency, a line per task and a number of labels."""
    if not by_task:
        return lacks(FEW)
    rows = [
        (title(task), line["n_labels"], times_as_many(line))
        for task, columns in by_task.items()
        for line in records(columns)
    ]
    return table(["Task", "Labels per class", f"Times as many for *{baseline}*"], rows)


def at_ten_labels(by_task):
    """Return label efficiency over *scratch* at ten labels per class, or the number nearest to it, a line per task."""
    if not by_task:
        return lacks(FEW)
    nearest = {
        title(task): min(records(columns), key=lambda line: abs(line["n_labels"] - 10))
        for task, columns in by_task.items()
    }
    return "\n".join(
        f"- {task}, where *pretext* has {line['n_labels']} labels per class: {times_as_many(line)}"
        for task, line in nearest.items()
    )


def records(columns):
    """Return the rows, a mapping each, of a table that was recorded as columns."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def times_as_many(line):
    """Return a label efficiency in words; an end of its interval that was not measured has no number."""
    numbers = (line[name] for name in ("efficiency", "low", "high"))
    times, low, high = (None if x is None else f"{x:.{1 if x >= 1 else 2}f}" for x in numbers)
    interval = f" [{low or 'or less'},\N{NO-BREAK SPACE}{high or 'or more'}]" if low or high else ""
    if line["lower_bound"]:
        return f"at least {times}{interval if low else ''}"
    if line["upper_bound"]:
        return f"at most {times}{interval if high else ''}"
    return f"{times}{interval or ' (no interval)'}"


def paper_recipe(section):
    """Return the table of the paper's own pretext, magnitudes alone, against ImageNet."""
    if not section:
        return lacks(RECIPES)
    rows = [
        (title(row["task"]), row["n_labels"], f"*{row['worse'].rsplit(' ', 1)[0]}*", verdict(row))
        for row in section.get("paper", [])
    ]
    return table(["Task", "Labels per class", "Magnitudes alone minus", "Difference, linear probe"], rows)


def five_bands(section):
    """Return the table of networks that see five raw bands."""
    if not section:
        return lacks(RECIPES)
    rows = [
        (title(row["task"]), row["n_labels"], row["better"], row["worse"], verdict(row))
        for row in section.get("five_bands", [])
    ]
    return table(["Task", "Labels per class", "Arm", "minus", "Difference"], rows)


def clusters(sections):
    """Return the table of scores without training: k-means clusters against classes, and neighbours of one class."""
    found = {(title(one["task"]), one["arm"]): one for one in sections.get(LOOK, {}).get("scores", [])}
    found |= {(title("mg"), arm): one for arm, one in sections.get(MORPHOLOGY, {}).get("maps", {}).items()}
    rows = [(*line, *(scored(one, score) for score in UNSUPERVISED)) for line, one in found.items()]
    tasks = [task for task, arm in found if arm == "imagenet"]
    sentences = []
    for score, words in UNSUPERVISED.items():
        ahead = [task for task in tasks if is_ahead(found[task, "pretext"], found[task, "imagenet"], score)]
        behind = [task for task in tasks if task not in ahead]
        where = f"on {', '.join(ahead)}" if ahead else "nowhere"
        but = f", and not on {', '.join(behind)}" if ahead and behind else ""
        columns = [task for task in tasks if (task, "photometry") in found]
        lower = [task for task in columns if is_ahead(found[task, "photometry"], found[task, "pretext"], score)]
        control = f" The columns alone, without a picture, are ahead of it on {', '.join(lower)}." if lower else ""
        sentences += [f"- {words}: *pretext* is ahead of *imagenet* {where}{but}.{control}"]
    missing = [lacks(name) for name in (LOOK, MORPHOLOGY) if name not in sections]
    shown = ["\n".join(sentences), table(["Task", "Features", *UNSUPERVISED.values()], rows)]
    return "\n\n".join(shown * bool(rows) + missing)


def scored(one, score):
    """Return a score without training, with its range where it has one."""
    low, high = one.get(f"{score}_low"), one.get(f"{score}_high")
    return f"{one[score]:.3f}" if low is None else f"{one[score]:.3f} ({low:.3f} to {high:.3f})"


def is_ahead(one, other, score):
    """Return whether one is better in all its runs than the other in any."""
    return one.get(f"{score}_low", one[score]) > other.get(f"{score}_high", other[score])


def recipes(section):
    """Return the table of pretraining recipes: each difference from magnitudes alone."""
    if not section:
        return lacks(RECIPES)
    rows = [(title(row["task"]), row["recipe"], difference(row), row["holds"]) for row in section["differences"]]
    return table(["Task", "Recipe", "minus magnitudes alone", "Better?"], rows)


def pretext_error(section):
    """Return the table of the pretext task's error, a line per band."""
    if not section:
        return lacks(PRETRAIN)
    columns = ("mae_mag", "mae_of_the_median_mag", "mae_of_the_catalogue_mag")
    rows = [(band, *(f"{section[column][band]:.3f}" for column in columns)) for band in section["mae_mag"]]
    return table(["Band", "Network (mag)", "Always the median (mag)", "The catalogue's own (mag)"], rows)


def real_pictures(section):
    """Return the table of what `benchmarks/own_pictures.py` recorded: a backbone against others on real pictures."""
    if not section:
        return "*No pictures were tried with this run: `benchmarks/own_pictures.py` with `--record` does it.*"
    rows = [
        (row["n_labels"], row["better"], row["worse"], difference(row), row["holds"]) for row in section["verdicts"]
    ]
    differences = table(["Labels per class", "Arm", "minus", "Difference", "Better?"], rows)
    shown = [
        which_pictures(section),
        differences,
        curve("Own pictures", section["balanced_accuracy"], "balanced accuracy"),
    ]
    return "\n\n".join(part for part in shown if part)


def which_pictures(section):
    """Return the sentence that says which pictures were asked about, of what is recorded of them."""
    if "pictures" not in section:
        return ""
    about, classes = section.get("about", "").strip(), section.get("classes", {})
    said = f"On {section['pictures']:,} labelled pictures" + (f" ({about})" if about else "")
    if classes:
        numbers = ", ".join(f"{name} {number:,}" for name, number in classes.items())
        said += f" of {len(classes)} classes ({numbers}; guessing scores {1 / len(classes):.2f})"
    said += ": balanced accuracy" + (f" on {section['test']:,} of them" if "test" in section else "")
    said += f", over {section['seeds']} draws of labels from the others." if "seeds" in section else "."
    return said + rarest_class(section)


def rarest_class(section):
    """Return what rests on the rarest class of the pictures: in balanced accuracy it weighs as much as any other."""
    pool, scored = section.get("pool_classes", {}), section.get("test_classes", {})
    if not pool or not scored:
        return ""
    name = min(scored, key=scored.get)
    said = (
        f" The rarest class, {name}, has {pool[name]} pictures that labels are drawn from, and {scored[name]} that "
        f"are scored: one of these is {1 / len(scored) / scored[name]:.3f} of the score."
    )
    most = max(row["n_labels"] for row in section["verdicts"])
    shared = f" Draws of {most} share most of those {pool[name]}, so that intervals there are too narrow."
    return said + (shared if 2 * most > pool[name] else "")


def described_figures(notebook, words):
    """Return picture, alternative text and caption of the figures of a notebook whose caption has these words."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            said = output.get("metadata", {}).get("image/png", {})
            if all(word in said.get("caption", "").lower() for word in words):
                yield output.data["image/png"], said["alt"], said["caption"]


def figures(book, present):
    """Write the figures of the page as files, from the notebooks of the book, and return their Markdown by name."""
    made = {}
    for part, (name, words) in FIGURES.items():
        made[part] = lacks(name)
        if name in present:
            notebook = nbformat.read(book / "notebooks" / f"{name}.ipynb", as_version=4)
            chapter = f"[](notebooks/{name}.ipynb)"
            shown = []
            for number, (picture, alt, caption) in enumerate(described_figures(notebook, words)):
                path = book / "generated" / f"{part}_{number}.png"
                path.write_bytes(base64.b64decode(picture))
                lines = [
                    f"```{{figure}} generated/{path.name}",
                    f":alt: {alt}",
                    "",
                    f"{caption} Ours, in {chapter}.",
                ]
                shown.append("\n".join([*lines, "```"]))
            made[part] = "\n\n".join(shown) or f"*The figure is in* {chapter}."
    return made
