"""The course runner, on small courses made here."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import run_course as runner

FIRST = """
import json, pathlib
path = pathlib.Path("..") / "runs" / run / "number.json"
path.write_text(json.dumps([n, learning_rate]))
"""
SECOND = """
n, learning_rate = json.loads((pathlib.Path("..") / "runs" / run / "number.json").read_text())
summary = pathlib.Path("..") / "runs" / run / "summary.json"
sections = {"numbers": {"headline": [["n doubled", str(2 * n)]]}}
summary.write_text(json.dumps(json.loads(summary.read_text()) | {"sections": sections}))
"""


def write_notebook(path, parameters, *cells):
    """Write a notebook with one cell tagged `parameters` and the given code cells."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {"name": "python3", "language": "python", "display_name": "Python 3"}
    notebook.cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    notebook.cells += [nbformat.v4.new_code_cell(cell.strip()) for cell in cells]
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
    nbformat.write(notebook, path)


@pytest.fixture
def course(tmp_path):
    """A folder with a course of two notebooks, of which the second reads what the first writes."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (tmp_path / "astro_ssl_nb").mkdir()
    (tmp_path / "astro_ssl_nb" / "module.py").write_text("")
    write_notebook(folder / "01_first.ipynb", 'run = "x"\nn = 1  # a number\nlearning_rate = 0.1', FIRST)
    write_notebook(folder / "02_second.ipynb", 'run = "x"\nseed = 0', "import json, pathlib", SECOND)
    return folder


def run(course, preset="{}", only=None):
    """Run a course with a preset given as text."""
    path = course / "preset.yml"
    path.write_text(preset)
    return runner.run_course(path, "trial", only, course)


def refusal(course, preset="{}", only=None):
    """Return the message with which the runner leaves."""
    with pytest.raises(SystemExit) as caught:
        run(course, preset, only)
    return str(caught.value)


def outputs(course):
    """Return the executed notebooks and when they were written."""
    return {path.stem: path.stat().st_mtime_ns for path in (course.parent / "runs/trial/notebooks").glob("*.ipynb")}


def test_runs_in_order_with_parameters_and_measures(course):
    summary = run(course, "{01_first: {n: 21}, all: {seed: 5}}")
    assert json.loads((course.parent / "runs/trial/number.json").read_text()) == [21, 0.1]
    assert list(summary["notebooks"]) == ["01_first", "02_second"]
    for record in summary["notebooks"].values():
        assert 0 < record["seconds"] < 120
        assert 10 < record["peak_memory_mb"] < 2000  # an idle Python kernel has some tens of megabytes
    assert summary["versions"]["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    assert {"torch", "astropy", "papermill"} <= set(summary["versions"])
    assert runner.headlines(summary).split() == ["numbers", "n", "doubled", "42"]


@pytest.mark.parametrize(
    ("preset", "said"),
    [
        ("{01_first: {lerning_rate: 0.2}}", "Did you mean `learning_rate`? Known: learning_rate, n, run."),
        ("{01_fist: {n: 2}}", "There is no notebook `01_fist`. Did you mean `01_first`?"),
        ("{all: {sede: 2}}", "There is no parameter `sede` in `all`. Did you mean `seed`?"),
        ("{all: {run: other}}", "`run` is set by --run"),
        ("{01_first: {n: many}}", "01_first: `n` is 'many', but its default is 1"),
        ("{01_first: {n: true}}", "`n` is True"),
        ("{01_first: {n: 1.5}}", "`n` is 1.5"),
        ("[1, 2]", "must map notebook names"),
        ("{all: false}", "must map notebook names"),
        ("{01_first: [", "cannot be read"),
    ],
)
def test_a_wrong_preset_is_refused_before_anything_runs(course, preset, said):
    assert said in refusal(course, preset)
    assert not (course.parent / "runs").exists()


def test_a_notebook_can_be_left_out(course):
    summary = run(course, "{02_second: false}")
    assert list(summary["notebooks"]) == ["01_first"] and summary["left_out"] == ["02_second"]
    assert list(run(course)["notebooks"]) == ["01_first", "02_second"]


def test_every_mistake_is_named_at_once(course):
    message = refusal(course, "{01_first: {m: 2}, 02_second: {sed: 1}}")
    assert "`m` of 01_first" in message and "`sed` of 02_second" in message


def test_an_integer_may_stand_for_a_float_and_lists_are_checked_inside(course):
    write_notebook(course / "01_first.ipynb", "n = 1.5\nsizes = [5, 10]\nother = None", "pass")
    write_notebook(course / "02_second.ipynb", "seed = 0", "pass")
    assert "sizes" in refusal(course, "{01_first: {sizes: [5, ten]}}")
    assert "sizes" in refusal(course, "{01_first: {sizes: 5}}")
    run(course, "{01_first: {n: 2, sizes: [1], other: text}}")


def test_numbers_are_written_as_in_a_notebook(course):
    run(course, "{01_first: {learning_rate: 3e-3}}", only="01")
    assert json.loads((course.parent / "runs/trial/number.json").read_text()) == [1, 0.003]


def test_a_missing_preset_and_a_path_as_run_are_refused(course):
    with pytest.raises(SystemExit, match="nowhere.yml cannot be read"):
        runner.run_course(course / "nowhere.yml", "trial", course=course)
    (course / "preset.yml").write_text("{}")
    with pytest.raises(SystemExit, match="'../elsewhere'"):
        runner.run_course(course / "preset.yml", "../elsewhere", course=course)


def test_what_finished_is_kept_until_something_it_depends_on_changes(course):
    run(course)
    first = outputs(course)
    run(course)
    assert outputs(course) == first

    run(course, "{02_second: {seed: 1}}")  # a parameter of the second: the first is kept
    second = outputs(course)
    assert second["01_first"] == first["01_first"] and second["02_second"] > first["02_second"]

    run(course, "{01_first: {n: 5}, 02_second: {seed: 1}}")  # of the first: the second uses what it writes
    third = outputs(course)
    assert third["01_first"] > second["01_first"] and third["02_second"] > second["02_second"]

    (course.parent / "astro_ssl_nb" / "module.py").write_text("x = 1\n")
    run(course, "{01_first: {n: 5}, 02_second: {seed: 1}}")
    assert all(outputs(course)[name] > third[name] for name in third)


def test_a_failure_says_which_cell_and_where_and_the_same_command_goes_on(course):
    write_notebook(course / "02_second.ipynb", "seed = 0", "1 + 1", "# breaks\nraise ValueError('too\\nfew galaxies')")
    message = refusal(course)
    assert "02_second stopped in cell [3]" in message
    assert "# breaks" in message and "ValueError: few galaxies" in message and "same command" in message
    half_done = course.parent / "runs/trial/notebooks/02_second.ipynb"
    assert str(half_done.name) in message and "few galaxies" in half_done.read_text()
    kept = outputs(course)["01_first"]

    write_notebook(course / "02_second.ipynb", "seed = 0", "1 + 1")
    assert list(run(course)["notebooks"]) == ["01_first", "02_second"]
    assert outputs(course)["01_first"] == kept


def test_a_kernel_that_dies_is_reported(course):
    write_notebook(course / "01_first.ipynb", "n = 1", "import os; os._exit(1)")
    assert "01_first stopped because its kernel died" in refusal(course)


def test_only_runs_one_notebook_again(course):
    run(course)
    before = outputs(course)
    run(course, only="02")
    after = outputs(course)
    assert after["01_first"] == before["01_first"] and after["02_second"] > before["02_second"]
    assert "fits 2; there are 01_first, 02_second" in refusal(course, only="0")


def test_the_kernel_is_this_python_whatever_the_user_registered(course, tmp_path, monkeypatch):
    spec = tmp_path / "user" / "kernels" / "python3"
    spec.mkdir(parents=True)
    spec.joinpath("kernel.json").write_text(
        json.dumps({"argv": ["false", "{connection_file}"], "display_name": "broken", "language": "python"})
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "user"))
    write_notebook(course / "01_first.ipynb", "n = 1", f"import sys; assert sys.executable == {sys.executable!r}")
    run(course, only="01")


def test_memory_of_the_processes_that_a_kernel_starts_is_counted(course):
    program = "import time; x = b'1' * 600_000_000; time.sleep(2)"  # long enough to be seen several times
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {program!r}])"
    write_notebook(course / "01_first.ipynb", "n = 1", child)
    assert run(course, only="01")["notebooks"]["01_first"]["peak_memory_mb"] > 600


def test_memory_of_processes_that_were_there_before_is_not_counted():
    code = "x = b'x' * 200_000_000; print('ready', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with runner.PeakMemory() as memory:
            subprocess.run([sys.executable, "-c", "import time; time.sleep(1)"], check=True)
        other.communicate(b"\n")
    assert 1e6 < memory.peak < 100e6


def test_command_line(course, capsys):
    (course / "preset.yml").write_text("{}")
    runner.main(["--preset", str(course / "preset.yml"), "--run", "trial"], course)
    printed = capsys.readouterr().out
    assert "n doubled  2" in printed and str(Path("runs") / "trial" / "summary.json") in printed
