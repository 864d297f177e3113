"""Copies of the course for a class: the same notebooks, with the solutions of the exercises taken out.

    python notebooks/exercises.py --out exercises

An exercise is a Markdown cell with the tag `exercise`; the cells after it that have the tag `solution` are emptied. The
copies work like the notebooks where the folder lies beside `notebooks`, so that `../runs` is the same.
"""

import argparse
import sys
from pathlib import Path

import nbformat

COURSE = Path(__file__).resolve().parent
BLANK = {"code": "# Your answer here", "markdown": "*Your answer here*"}
SOLUTION_TAGS = {"solution", "hide-cell"}


def without_solutions(notebook):
    """Return a copy of a notebook in which cells tagged `solution` are blank.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        Every other cell, and the metadata, come through as they are.

    Returns
    -------
    nbformat.NotebookNode

    Examples
    --------
    >>> solution = nbformat.v4.new_code_cell("x = 6 * 7", metadata={"tags": ["solution", "hide-cell"]})
    >>> copy = without_solutions(nbformat.v4.new_notebook(cells=[solution]))
    >>> copy.cells[0].source, copy.cells[0].metadata.tags
    ('# Your answer here', [])
    """
    copy = nbformat.from_dict(notebook)
    for cell in copy.cells:
        tags = cell.metadata.get("tags", [])
        if "solution" in tags:
            cell.source = BLANK[cell.cell_type]
            cell.metadata["tags"] = [tag for tag in tags if tag not in SOLUTION_TAGS]
            if cell.cell_type == "code":
                cell.update(outputs=[], execution_count=None)
    return copy


def write_exercises(out, *, force=False, course=COURSE):
    """Write the class's copies of all notebooks of a course.

    Parameters
    ----------
    out : path
        The folder of the copies; it is made where it does not exist.
    force : bool, default=False
        Replace copies that hold something else, such as a student's answers.
    course : path
        The folder with the notebooks.

    Returns
    -------
    list of Path

    Raises
    ------
    SystemExit
        With the names of what would be lost, if copies hold something else and `force` is not set, or `out` is the
        folder of the course itself or no folder. Nothing is written then.
    """
    out, course = Path(out), Path(course)
    if out.resolve() == course.resolve():
        sys.exit(f"{out} holds the course itself: choose another folder, or the solutions are lost.")
    if out.exists() and not out.is_dir():
        sys.exit(f"{out} is a file: choose a folder.")
    copies = {
        out / path.name: nbformat.writes(without_solutions(nbformat.read(path, as_version=4))) + "\n"
        for path in sorted(course.glob("*.ipynb"))
    }
    changed = [path.name for path, text in copies.items() if path.exists() and path.read_text("utf-8") != text]
    if changed and not force:
        sys.exit(
            f"Nothing was written: {out} holds other versions of {', '.join(changed)}, perhaps with somebody's "
            "answers. Choose another folder, or replace them with --force."
        )
    out.mkdir(parents=True, exist_ok=True)
    for path, text in copies.items():
        path.write_text(text, "utf-8")
    return list(copies)


def main(arguments=None, course=COURSE):
    """Command line of this file."""
    parser = argparse.ArgumentParser(description="Copies of the course without the solutions of its exercises.")
    parser.add_argument("--out", default="exercises", help="folder of the copies (default: exercises)")
    parser.add_argument("--force", action="store_true", help="replace copies that were changed")
    options = parser.parse_args(arguments)
    written = write_exercises(options.out, force=options.force, course=course)
    print(f"{len(written)} notebooks without solutions: {options.out}")


if __name__ == "__main__":
    main()
