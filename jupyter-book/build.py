"""Build the book from a run of the course.

    python jupyter-book/build.py --run demo

takes the executed notebooks and the numbers of ``runs/demo``, and the pages beside this file, and writes the book to
``runs/demo/book/_build/html``, and there also as ``book.zip``, to be read without a server. Any warning, such as a
broken link, fails the build. No network is needed.
"""

import argparse
import copy
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import yaml
from chapters import read_chapter, unlink
from citations import cite_papers, cited_papers
from comparison import comparisons, figures
from pages import duration, map_cards, map_tree, measured_page, parameters_page
from performance import performance_tables
from terms import glossary_terms, link_chapters, link_terms

from astro_ssl_nb.summary import read_summary

PAGES = Path(__file__).resolve().parent
RUNS = PAGES.parent / "runs"
BENCH = RUNS / "bench.json"  # of `make bench`
COURSE = PAGES.parent / "notebooks"
sys.path.insert(0, str(COURSE))
from parameters import check_run, read_preset, resolve_parameters  # noqa: E402

FINISHED_BAR = re.compile(r"(?:\s|<style>[^<]*</style>|<div></div>)*")  # what is left of a progress bar: an empty box
PRESETS = ("quick", "laptop", "paper")  # those that the page of parameters shows
WIDGETS = "application/vnd.jupyter.widget-view+json"


def build_book(run):
    """Build the book from the folder of a run and return the path of its first page.

    Raises
    ------
    SystemExit
        With a sentence that says what to do, when the run is not finished or Sphinx warns of something.
    """
    summary = read_summary(run)
    if not summary:
        sys.exit(f"There is no run {Path(run).name!r}: make it with `make course RUN={Path(run).name}`.")
    book = Path(run) / "book"
    shutil.rmtree(book, ignore_errors=True)  # what a page was called before must not stay
    shutil.copytree(PAGES, book, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    unmeasured = [] if BENCH.exists() else ["performance"]  # a page of nothing helps nobody
    leave_out(book, [*summary.get("left_out", []), *unmeasured])
    notebooks = copy_notebooks(run, book, summary)
    write_pages(book, summary, Path(run).name, notebooks)

    log = book / "build.log"
    print(f"Building the book; the log is {os.path.relpath(log)}", flush=True)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command += ["build", str(book), "-W", "--keep-going"]
    build = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    lines = re.sub(r"\x1b\[[\d;]*m", "", build.stdout).splitlines()  # without colours
    log.write_text("\n".join(lines))
    if build.returncode != 0:
        said = dict.fromkeys(line for line in lines if "WARNING" in line or "ERROR" in line)  # each once
        sys.exit("\n".join(said or lines[-20:]) + "\nThe book was not built: mend what is named above.")
    html = book / "_build" / "html"
    for name, notebook in notebooks.items():  # what the download button gives: without links within the book
        nbformat.write(notebook, html / "_sources" / "notebooks" / f"{name}.ipynb")
    copy_of_all = shutil.make_archive(html.parent / "book", "zip", html)
    shutil.move(copy_of_all, html)  # the first page links to it; made elsewhere, it does not hold itself
    return html / "index.html"


def leave_out(book, names):
    """Take pages from the table of contents, by name: chapters that the preset left out, and what was not measured."""
    path = book / "_toc.yml"
    contents = yaml.safe_load(path.read_text())
    for part in contents["parts"]:
        part["chapters"] = [chapter for chapter in part["chapters"] if Path(chapter["file"]).name not in names]
    path.write_text(yaml.safe_dump(contents, sort_keys=False))


def copy_notebooks(run, book, summary):
    """Copy the executed notebooks that the table of contents names, or leave with those that the run lacks.

    Returns the notebooks by name as they were copied, but before their terms and papers became links within it.
    """
    parts = yaml.safe_load((book / "_toc.yml").read_text())["parts"]
    files = [chapter["file"] for part in parts for chapter in part["chapters"]]
    names = [Path(file).name for file in files if file.startswith("notebooks/")]
    missing = [name for name in names if name not in summary.get("notebooks", {})]
    if missing:
        name = Path(run).name
        sys.exit(f"The run {name!r} has not finished {', '.join(missing)}: go on with `make course RUN={name}`.")
    (book / "notebooks").mkdir()
    terms = glossary_terms((book / "glossary.md").read_text())
    papers = cited_papers(book / "references.bib")
    clean = {}
    for name in names:
        notebook = nbformat.read(Path(run) / "notebooks" / f"{name}.ipynb", as_version=4)
        notebook.metadata.pop("papermill", None)  # paths of the machine that ran it
        for cell in notebook.cells:
            cell.metadata.pop("papermill", None)
            for output in cell.get("outputs", []):
                output.get("data", {}).pop(WIDGETS, None)  # a page cannot show it without asking another host
            if cell.cell_type == "code":
                cell.outputs = [output for output in cell.outputs if not finished_bar(output)]
        clean[name] = copy.deepcopy(notebook)
        fit_into_the_book(notebook, summary, name)
        describe_figures(notebook)
        hide_solutions(notebook)
        cite_papers(notebook, papers)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = link_chapters(cell.source, [other for other in names if other != name])
        link_terms(notebook, terms)
        nbformat.write(notebook, book / "notebooks" / f"{name}.ipynb")
    return clean


def fit_into_the_book(notebook, summary, name):
    """Say at the top of a page its number and what its notebook took, and let links to other pages find them."""
    cost, cores = summary["notebooks"][name], summary["machine"]["cores"]
    took = (
        f"**Run time**: {duration(cost['seconds'])} and {cost['peak_memory_mb'] / 1000:.1f} GB of memory "
        f"with the preset `{summary['preset']}`, on {cores} cores ([all run times](../measured.md))."
    )
    opening = notebook.cells[0]
    opening.source = re.sub(r"^# ", f"# {name[:2]} ", opening.source)  # what other pages call it
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"^\*\*Run time\*\*:.*$", took, cell.source, flags=re.MULTILINE)
            cell.source = cell.source.replace("](../jupyter-book/", "](../")


def finished_bar(output):
    """Return whether an output is what is left of a progress bar."""
    html = output.get("data", {}).get("text/html")
    return html is not None and FINISHED_BAR.fullmatch(html) is not None


def describe_figures(notebook):
    """Give each figure the caption and the alternative text that `figures.describe` left beside it.

    MyST-NB takes them from a cell, for all of its outputs: what follows a figure gets a cell of its own.
    """
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type != "code":
            continue
        outputs, cell.outputs = cell.outputs, []
        more = copy.deepcopy(cell)
        more.metadata.tags = sorted({*cell.metadata.get("tags", []), "remove-input"})
        for output in outputs:
            if "figure" in cells[-1].metadata.get("mystnb", {}):
                cells.append(copy.deepcopy(more))
                cells[-1].id = f"{cell.id}-{len(cells)}"
            cells[-1].outputs.append(output)
            said = output.get("metadata", {}).get("image/png", {})
            if "alt" in said:
                described = {"image": {"alt": said["alt"]}, "figure": {"caption": said["caption"]}}
                cells[-1].metadata["mystnb"] = {**cell.metadata.get("mystnb", {}), **described}
    notebook.cells = cells


def hide_solutions(notebook):
    """Put each cell tagged `solution` behind a toggle that says what it hides."""
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "solution" in tags and cell.cell_type == "code":
            cell.metadata.tags = sorted({*tags, "hide-cell"})
            prompts = {"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
            cell.metadata["mystnb"] = {**cell.metadata.get("mystnb", {}), **prompts}
        elif "solution" in tags:
            cell.source = f":::::{{dropdown}} Show the solution\n{cell.source}\n:::::"


def write_pages(book, summary, run, notebooks):
    """Write what the build generates: whole pages, and the parts that pages include from the folder `generated`."""
    chapters = [read_chapter(path) for path in sorted(COURSE.glob("*.ipynb"))]
    known = {c.name: papermill.inspect_notebook(str(COURSE / f"{c.name}.ipynb")) for c in chapters}
    (book / "generated").mkdir()
    parts = {"map_tree": map_tree(chapters), "map_cards": map_cards(chapters, summary)}
    parts |= comparisons(summary) | figures(book, notebooks)
    if BENCH.exists():
        parts["performance_tables"] = performance_tables(BENCH)
    for name, text in parts.items():
        (book / "generated" / f"{name}.txt").write_text(text + "\n")
    (book / "measured.md").write_text(measured_page(summary, run, chapters, PRESETS))
    (book / "parameters.md").write_text(parameters_page(chapters, known, preset_values(chapters)))

    absent = {c.name: f"{c.number} {c.title}" for c in chapters if c.name not in notebooks}
    for path in [*book.glob("*.md"), *book.glob("generated/*.txt")]:
        path.write_text(link_chapters(unlink(path.read_text(), absent), notebooks, folder="notebooks/"))


def preset_values(chapters):
    """Return what each preset sets: its name to a mapping from the chapters that it runs to their values."""
    paths = {chapter.name: COURSE / f"{chapter.name}.ipynb" for chapter in chapters}
    values = {}
    for name in PRESETS:
        preset = read_preset(COURSE / "presets" / f"{name}.yml")
        resolved = resolve_parameters(preset, paths, "")
        values[name] = {chapter: found for chapter, found in resolved.items() if preset.get(chapter) is not False}
    return values


def main():
    """Command line of this file."""
    parser = argparse.ArgumentParser(description="Build the book from a run of the course.")
    parser.add_argument("--run", required=True, help="name of the run, a folder in runs/")
    index = build_book(RUNS / check_run(parser.parse_args().run))
    print(f"The book: {index}")


if __name__ == "__main__":
    main()
