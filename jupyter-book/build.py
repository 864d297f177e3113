"""Build the book from a run of the course.

    python jupyter-book/build.py --run demo

takes the executed notebooks and the numbers of ``runs/demo``, and the pages beside this file, and writes the book to
``runs/demo/book/_build/html``. Any warning, such as a broken link, fails the build. No network is needed.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import yaml

PAGES = Path(__file__).resolve().parent
RUNS = PAGES.parent / "runs"
WIDGETS = "application/vnd.jupyter.widget-view+json"


def build_book(run):
    """Build the book from the folder of a run and return the path of its first page.

    Raises
    ------
    SystemExit
        With a sentence that says what to do, when the run is not finished or Sphinx warns of something.
    """
    book = Path(run) / "book"
    shutil.rmtree(book, ignore_errors=True)  # what a page was called before must not stay
    shutil.copytree(PAGES, book, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    summary = read_summary(run)
    leave_out(book, summary.get("left_out", []))
    copy_notebooks(run, book, summary)
    (book / "measured.md").write_text(measured_page(summary, Path(run).name))

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
    return book / "_build" / "html" / "index.html"


def read_summary(run):
    """Return the summary of a run."""
    path = Path(run) / "summary.json"
    if not path.exists():
        sys.exit(f"There is no run {Path(run).name!r}: make it with `make course RUN={Path(run).name}`.")
    return json.loads(path.read_text())


def leave_out(book, names):
    """Take the chapters that the preset of the run left out from the table of contents."""
    path = book / "_toc.yml"
    contents = yaml.safe_load(path.read_text())
    for part in contents["parts"]:
        part["chapters"] = [chapter for chapter in part["chapters"] if Path(chapter["file"]).name not in names]
    path.write_text(yaml.safe_dump(contents, sort_keys=False))


def copy_notebooks(run, book, summary):
    """Copy the executed notebooks that the table of contents names, or leave with those that the run lacks."""
    parts = yaml.safe_load((book / "_toc.yml").read_text())["parts"]
    files = [chapter["file"] for part in parts for chapter in part["chapters"]]
    names = [Path(file).name for file in files if file.startswith("notebooks/")]
    missing = [name for name in names if name not in summary.get("notebooks", {})]
    if missing:
        name = Path(run).name
        sys.exit(f"The run {name!r} has not finished {', '.join(missing)}: go on with `make course RUN={name}`.")
    (book / "notebooks").mkdir()
    for name in names:
        notebook = nbformat.read(Path(run) / "notebooks" / f"{name}.ipynb", as_version=4)
        notebook.metadata.pop("papermill", None)  # paths of the machine that ran it
        for cell in notebook.cells:
            cell.metadata.pop("papermill", None)
            for output in cell.get("outputs", []):
                output.get("data", {}).pop(WIDGETS, None)  # a page cannot show it without asking another host
        nbformat.write(notebook, book / "notebooks" / f"{name}.ipynb")


def measured_page(summary, run):
    """Return the Markdown of the page with what a run measured: results, run times, versions."""
    sections = summary.get("sections", {})
    machine = summary["machine"]
    results = [(name, *row) for name, section in sections.items() for row in section.get("headline", [])]
    costs = [
        (f"[](notebooks/{name}.ipynb)", f"{seconds // 60:.0f} min {seconds % 60:.0f} s", cost["peak_memory_mb"])
        for name, cost in summary["notebooks"].items()
        for seconds in [round(cost["seconds"])]
    ]
    return "\n\n".join(
        [
            "# What this run measured",
            f"The build writes this page from `runs/{run}/summary.json`, which holds many more numbers. "
            f"The run used the preset `{summary['preset']}`.",
            "## Results",
            table(["Notebook", "Quantity", "Value"], results),
            "## Run time and memory",
            f"Measured on {machine['cores']} cores ({machine['processor']}) with {machine['memory_gb']} GB of memory, "
            f"{machine['system']}. The memory is the most that a kernel and the processes it started held together.",
            table(["Notebook", "Run time", "Peak memory (MB)"], costs),
            "## Versions",
            table(["Package", "Version"], summary["versions"].items()),
        ]
    )


def table(header, rows):
    """Return a Markdown table, with the characters that Markdown would take for its own escaped."""
    lines = [header, ["---"] * len(header)] + [
        [str(cell).replace("|", "\\|").replace("$", "\\$") for cell in row] for row in rows
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main():
    """Command line of this file."""
    parser = argparse.ArgumentParser(description="Build the book from a run of the course.")
    parser.add_argument("--run", required=True, help="name of the run, a folder in runs/")
    index = build_book(RUNS / parser.parse_args().run)
    print(f"The book: {index}")


if __name__ == "__main__":
    main()
