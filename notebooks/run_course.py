"""Run the course as a batch: every notebook, in order, with the parameters of a preset.

    python notebooks/run_course.py --preset notebooks/presets/quick.yml --run demo

The executed notebooks go to ``runs/demo/notebooks``; their numbers, run times and peak memory to
``runs/demo/summary.json``. A notebook that finished is kept until its source, its parameters, the packages or a
notebook before it change.

A preset is a YAML mapping from notebook names to parameters; ``all`` holds those for every notebook that has them::

    all:
      seed: 0
    02_pretrain_on_properties:
      epochs: 3
"""

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
import threading
import time
import tomllib
from contextlib import contextmanager
from pathlib import Path

import nbformat
import papermill
import psutil
from ipykernel.kernelspec import write_kernel_spec
from nbclient.exceptions import DeadKernelError
from packaging.requirements import Requirement
from papermill.exceptions import PapermillExecutionError
from parameters import check_run, read_preset, resolve_parameters

from astro_ssl_nb.summary import read_summary, update_summary

COURSE = Path(__file__).resolve().parent
PACKAGES = ("astro_ssl_nb", "data_fetch")


def run_course(preset, run, only=None, course=COURSE):
    """Run the notebooks of a course and return the summary of the run.

    Parameters
    ----------
    preset : path
        YAML file with the parameters.
    run : str
        Name of the run: results go to ``runs/<run>`` beside the course folder. A notebook with a parameter ``run``
        gets this name in it.
    only : str, optional
        Name of one notebook, or its beginning: run that one whether it finished before or not, and no other.
    course : path
        Folder with the notebooks.

    Raises
    ------
    SystemExit
        With a sentence that says what to do, when the preset does not fit the notebooks (nothing has run then) or a
        notebook fails (those before it are kept).
    """
    course = Path(course).resolve()
    check_run(run)
    notebooks = {path.stem: path for path in sorted(course.glob("*.ipynb"))}
    wanted = read_preset(preset)
    parameters = resolve_parameters(wanted, notebooks, run)
    left_out = [name for name in notebooks if wanted.get(name) is False]
    chosen = [name for name in notebooks if name not in left_out]
    if only is not None:
        chosen = [name for name in notebooks if name.startswith(only)]
        if len(chosen) != 1:
            sys.exit(f"--only names one notebook, and {only!r} fits {len(chosen)}; there are {', '.join(notebooks)}.")

    folder = course.parent / "runs" / run
    (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    versions = installed_versions()
    packages = [path.read_bytes() for package in PACKAGES for path in sorted((course.parent / package).rglob("*.py"))]
    done = read_summary(folder).get("notebooks", {})
    machine = describe_machine()
    update_summary(folder, preset=Path(preset).stem, left_out=left_out, versions=versions, machine=machine)

    before = ""  # fingerprint of the notebook before: when that one changes, what it handed on may have changed too
    for name, path in notebooks.items():
        if name in chosen:
            inputs = fingerprint(cells_of(path), parameters[name], versions, before, *packages)
            output = folder / "notebooks" / path.name
            if only is None and output.exists() and done.get(name, {}).get("inputs") == inputs:
                print(f"{name}: finished before, and nothing that it depends on has changed", flush=True)
            else:
                done.pop(name, None)
                update_summary(folder, notebooks=done)
                done[name] = {**execute(path, output, parameters[name]), "inputs": inputs}
                update_summary(folder, notebooks=done)
        before = done.get(name, {}).get("inputs", "")
    return read_summary(folder)


def execute(path, output, parameters):
    """Run one notebook and return its wall time and the peak memory of its kernel, or leave with what went wrong."""
    start = time.perf_counter()
    try:
        with own_kernel(), PeakMemory() as memory:
            papermill.execute_notebook(
                str(path),
                str(output),
                parameters,
                kernel_name="python3",
                cwd=str(path.parent),
                progress_bar={"desc": path.stem},
            )
    except PapermillExecutionError as error:
        first = error.source.strip().splitlines()[0]
        last = (str(error.evalue).strip().splitlines() or [""])[-1]
        stop(path, output, f"in cell [{error.exec_count}], which begins\n    {first}\nwith {error.ename}: {last}")
    except DeadKernelError:
        stop(path, output, "because its kernel died: most often the memory was full")
    except KeyboardInterrupt:
        stop(path, output, "because you interrupted it")
    return {"seconds": round(time.perf_counter() - start, 1), "peak_memory_mb": round(memory.peak / 1e6)}


def stop(path, output, reason):
    """Leave with the place and the reason of a failure, and the way on."""
    sys.exit(
        f"\n{path.stem} stopped {reason}\n"
        f"The notebook as far as it came, with the whole traceback: {os.path.relpath(output)}\n"
        "To go on, mend the cause and run the same command again: notebooks that finished are kept."
    )


@contextmanager
def own_kernel():
    """Let `python3` mean the running interpreter, whatever kernels this user or this machine has registered."""
    before = os.environ.get("JUPYTER_PATH")
    with tempfile.TemporaryDirectory() as folder:
        # its warning about unencrypted loopback sockets would break the progress bar
        write_kernel_spec(os.path.join(folder, "kernels", "python3"), extra_arguments=["--log-level=ERROR"])
        os.environ["JUPYTER_PATH"] = folder
        try:
            yield
        finally:
            os.environ.pop("JUPYTER_PATH") if before is None else os.environ.update(JUPYTER_PATH=before)


class PeakMemory:
    """Context manager that samples the memory of processes that start below this one: the kernel, and what it starts.

    ``peak`` is the largest sum of resident sizes seen, in bytes; pages that processes share count once for each.
    """

    def __enter__(self):
        self.peak = 0
        self._others = set(psutil.Process().children(recursive=True))  # those of the caller, such as a pool of workers
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._finished.set()
        self._thread.join()

    def _watch(self):
        while not self._finished.wait(0.2):
            total = 0
            for process in set(psutil.Process().children(recursive=True)) - self._others:
                try:
                    total += process.memory_info().rss
                except psutil.Error:  # it ended since it was listed
                    continue
            self.peak = max(self.peak, total)


def cells_of(path):
    """Return what makes a notebook run as it does: its cells and their tags, without outputs."""
    cells = nbformat.read(path, as_version=4).cells
    return [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in cells]


def fingerprint(*inputs):
    """Return a short digest of what a notebook depends on."""
    digest = hashlib.sha256()
    for item in inputs:
        digest.update(item if isinstance(item, bytes) else json.dumps(item, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def installed_versions():
    """Return the versions of Python and of every package that pyproject.toml asks for."""
    project = tomllib.loads((COURSE.parent / "pyproject.toml").read_text())["project"]
    names = [Requirement(line).name for line in project["dependencies"]]
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}


def describe_machine():
    """Return what run times depend on."""
    memory = round(psutil.virtual_memory().total / 1e9)
    return {
        "system": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": memory,
    }


def headlines(summary):
    """Return the short table of what was learned: the headlines that the notebooks recorded, as lines of text."""
    sections = summary.get("sections", {}).items()
    rows = [(name, *row) for name, section in sections for row in section.get("headline", [])]
    widths = [max((len(str(row[column])) for row in rows), default=0) for column in (0, 1)]
    return "\n".join(f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]}" for row in rows)


def main(arguments=None, course=COURSE):
    """Command line of this file."""
    parser = argparse.ArgumentParser(description="Run the course as a batch.")
    parser.add_argument("--preset", required=True, help="YAML file with the parameters")
    parser.add_argument("--run", required=True, help="name of the run: results go to runs/NAME")
    parser.add_argument("--only", metavar="NOTEBOOK", help="run this notebook alone, even if it finished before")
    options = parser.parse_args(arguments)
    summary = run_course(options.preset, options.run, options.only, course)
    folder = os.path.relpath(Path(course).parent / "runs" / options.run)
    print(f"\n{headlines(summary)}\n\nEvery number: {folder}/summary.json")


if __name__ == "__main__":
    main()
