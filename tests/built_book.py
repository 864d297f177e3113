"""A run of the course as the book finds it, and the book that is made of it."""

import json
import shutil
import subprocess
import sys

import nbformat

from .paths import REPOSITORY


def lay_run(root, notebooks, **summary):
    """Copy the book's pages to a folder and lay a finished run beside them; return the folder of the run.

    Parameters
    ----------
    root : Path
    notebooks : dict of str to notebook
        As they ran, by their names.
    **summary
        What the run recorded besides its costs and its machine.
    """
    for folder in ("jupyter-book", "notebooks"):
        shutil.copytree(REPOSITORY / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    run = root / "runs" / "trial"
    (run / "notebooks").mkdir(parents=True)
    for name, notebook in notebooks.items():
        nbformat.write(notebook, run / "notebooks" / f"{name}.ipynb")
    summary["versions"] = {"python": "3.99.1"}
    summary["machine"] = {"system": "Some OS", "processor": "some64", "cores": 2, "memory_gb": 8}
    summary["notebooks"] = {name: {"seconds": 83.4, "peak_memory_mb": 1234} for name in notebooks}
    (run / "summary.json").write_text(json.dumps(summary))
    return run


def build(root, run="trial"):
    """Run the builder's command line in a folder, and return it finished."""
    command = [sys.executable, str(root / "jupyter-book" / "build.py"), "--run", run]
    return subprocess.run(command, capture_output=True, text=True, cwd=root)
