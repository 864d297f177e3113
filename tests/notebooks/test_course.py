"""The course itself: every notebook is clean, and they run in order from the practice archive to the numbers."""

import json
import re
import shlex
import subprocess
import sys

import nbformat
import numpy as np
import pytest
from astropy.table import Table
from PIL import Image

import astro_ssl_nb as ssl

from ..paths import REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
pytestmark = pytest.mark.timeout(3600)  # whichever test comes first runs the whole course


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_clean_and_has_the_shape_of_the_course(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in code) == 1
    first, last = notebook.cells[0], notebook.cells[-1]
    assert first.source.startswith("# ") and "**You will learn**" in first.source
    assert last.source.startswith("## What you learned")
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    source = "\n".join(cell.source for cell in code)
    if re.search(r"plt\.(subplots|gcf)\(", source):
        assert "plt.style.use(ssl.figures.STYLE)" in source, "what a notebook draws itself looks like the rest"
    for cell, after in zip(notebook.cells, notebook.cells[1:], strict=False):
        if "plt.show()" in cell.source:
            assert after.cell_type == "markdown", "a figure is followed by what to see in it"


def test_the_course_runs_from_the_archive_to_the_numbers(course_run):
    summary = json.loads((course_run / "summary.json").read_text())
    assert list(summary["sections"]) == list(summary["notebooks"]) == [path.stem for path in NOTEBOOKS]
    assert all(one["seconds"] > 0 and one["peak_memory_mb"] > 50 for one in summary["notebooks"].values())
    assert all(section["headline"] for section in summary["sections"].values())

    fetched = summary["sections"]["01_fetch_sdss_cutouts"]
    assert fetched["objects"] == {"sg": 120, "sgq": 180, "pretext": 800} and fetched["overlap"] == 0
    pretrained = summary["sections"]["02_pretrain_on_properties"]
    assert pretrained["data_sha256"] == fetched["data_sha256"]["pretext"]
    assert set(pretrained["mae_mag"]) == set("ugriz")
    arms = {arm for arm, *_ in summary["sections"]["03_few_shot_classification"]["accuracy"]["sgq"]}
    assert arms == {"pretext", "imagenet", "scratch", "photometry", "apertures", "catalogue", "both"}


def test_what_the_course_leaves_can_be_used(course_run):
    sgq = ssl.CutoutSet.open(course_run / "data" / "sgq")
    features = ssl.embed(course_run / "backbone.safetensors", sgq)
    assert features.shape == (180, 512) and np.isfinite(features).all()


def test_every_figure_says_what_it_shows(course_run, book_module):
    drawn = {}
    for path in NOTEBOOKS:
        executed = nbformat.read(course_run / "notebooks" / path.name, as_version=4)
        outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
        drawn[path.stem] = [out.metadata["image/png"] for out in outputs if "image/png" in out.get("data", {})]
    for name, said in drawn.items():
        assert said and all(len(one["caption"]) > 30 and len(one["alt"]) > len(one["caption"]) for one in said), name
    assert len(drawn["03_few_shot_classification"]) == 2
    for name, words in book_module("comparison").FIGURES.values():  # which the book sets beside the paper's
        assert any(all(word in one["caption"].lower() for word in words) for one in drawn[name]), words


def test_pictures_of_ones_own_are_classified_as_the_readme_says(course_run, tmp_path, monkeypatch):
    sgq = ssl.CutoutSet.open(course_run / "data" / "sgq")
    two = sgq[np.isin(sgq.labels("class"), ["GALAXY", "STAR"])][:90]
    files = [f"{row}.png" for row in range(len(two))]
    for name, some in {"images": slice(80), "more": slice(80, 90)}.items():
        (tmp_path / name).mkdir()
        for file, picture in zip(files[some], ssl.figures.rgb(two[some].images, two.bands), strict=True):
            Image.fromarray((255 * picture).astype(np.uint8)).save(tmp_path / name / file)
    Table({"file": files[:80], "label": two[:80].labels("class")}).write(tmp_path / "labels.csv")
    Table({"file": files[80:]}).write(tmp_path / "more.csv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("astro_ssl_nb.finetuning.STEPS", 5)  # the task is easy, and the course has whole fine-tunings
    code = re.search(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)[1]
    said: dict = {}
    exec(code.replace("runs/demo", str(course_run)), said)
    assert len(said["curve"]) == 3 * 2 * 5 and said["answers"].index.tolist() == files[80:]
    assert (said["answers"].idxmax(axis=1).to_numpy() == two[80:].labels("class")).mean() > 0.5


def test_papermill_alone_runs_a_notebook_as_the_readme_says(course_run):
    command = re.search(r"^\S*/papermill (.+)$", (REPOSITORY / "README.md").read_text(), re.MULTILINE)[1]
    words = [sys.executable, "-m", "papermill", *shlex.split(command.replace("demo", course_run.name))]
    finished = subprocess.run(words, cwd=course_run.parents[1], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    cells = nbformat.read(course_run / "where_it_fails.ipynb", as_version=4).cells
    given = [cell.source for cell in cells if "injected-parameters" in cell.metadata.get("tags", [])]
    assert len(given) == 1 and f'run = "{course_run.name}"\nn_labels = 10' in given[0]


@pytest.mark.parametrize("preset", sorted((REPOSITORY / "notebooks/presets").glob("*.yml")), ids=lambda path: path.stem)
def test_every_preset_fits_the_notebooks(preset):
    from parameters import read_preset, resolve_parameters

    notebooks = {path.stem: path for path in NOTEBOOKS}
    assert set(resolve_parameters(read_preset(preset), notebooks, "trial")) == set(notebooks)
