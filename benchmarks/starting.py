"""Starting: what an import costs, and which part of a run of the course goes into loops that do the work."""

import ast
import subprocess
import sys
from pathlib import Path

import nbformat
from timing import clock, compare, take_turns, value

REPOSITORY = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "fastai", "sklearn", "matplotlib", "pandas", "astropy", "galsim", "scipy")
# Calls whose time is work: training, embedding and maps; rendering the practice sky and cutting it; figures.
WORK = {
    *("fit", "fit_one_cycle", "fine_tune", "lr_find", "label_curve", "few_shot_learner", "few_shot_probabilities"),
    *("embed", "tsne_map", "fit_transform", "representation_report", "get_preds", "predict_properties"),
    *("fetch", "render", "show", "savefig"),
}


def measure(*, repeat, run):
    """Rows of imports; of the run in a folder, too, where one is given and not None."""
    return imports(repeat) + (course(Path(run)) if run else [])


def python(*arguments):
    run = subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"python {' '.join(arguments)} failed: {run.stderr.strip().splitlines()[-1:]}")
    return run.stdout


def imports(repeat):
    peer = "import fastai.vision.all"
    rows = []
    for code in ("import astro_ssl_nb", "from astro_ssl_nb import property_learner"):
        sides = {name: lambda name=name: clock(lambda: python("-c", name)) for name in (code, peer)}
        rows += compare("start of Python and import", sides, repeat=repeat, at_most={peer: 1.3})
    loaded = python(
        "-c", f"import sys, astro_ssl_nb; print(*[name for name in {HEAVY} if name in sys.modules])"
    ).split()
    rows.append(value("heavy packages that `import astro_ssl_nb` loads", [len(loaded)], "", at_most=0, loaded=loaded))
    shell = take_turns({"help": lambda: clock(lambda: python("-m", "data_fetch", "--help"))}, repeat)
    rows.append(value("`python -m data_fetch --help`", shell["help"], "s", at_most=0.5))
    return rows


def course(run):
    """The share of the notebooks' wall time in cells that train, embed, render or draw.

    A cell counts as a whole, so this is the most that the loops can have taken: no limit is judged by it. The time of
    setting up and of building the book is not recorded in a run and not in it.
    """
    total, work, rest = 0.0, 0.0, []
    for path in sorted((run / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        total += notebook.metadata["papermill"]["duration"] or 0
        workers = set(WORK)
        for cell in notebook.cells:
            if cell.cell_type != "code":
                continue
            seconds = cell.metadata["papermill"].get("duration") or 0
            if does_work(cell.source, workers):
                work += seconds
            else:
                rest.append((seconds, path.stem, cell.source.strip().splitlines()[0]))
    if not total:
        return []
    largest = [[round(seconds, 1), name, line] for seconds, name, line in sorted(rest, reverse=True)[:8]]
    between = total - work - sum(seconds for seconds, *_ in rest)
    return [
        value(
            "cells that train, embed, render or draw, of the wall time of the notebooks (an upper bound of the loops)",
            [work / total],
            "",
            run=run.name,
            wall_seconds=round(total, 1),
            outside_cells_seconds=round(between, 1),
            largest_other_cells=largest,
        )
    ]


def does_work(source, workers):
    """Whether a cell calls one of `workers`; a function that a cell defines around such a call becomes one of them."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a magic
        return False
    inside = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and calls(node) & workers:
            workers.add(node.name)
            inside |= {id(child) for child in ast.walk(node)}
    return any(
        isinstance(node, ast.Call) and id(node) not in inside and called(node) in workers for node in ast.walk(tree)
    )


def calls(tree):
    return {called(node) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def called(call):
    return getattr(call.func, "attr", getattr(call.func, "id", None))
