"""The command that tries a backbone on a folder of pictures, run as a reader would."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
from astropy.table import Table
from PIL import Image

from ..paths import REPOSITORY

SCRIPT = REPOSITORY / "benchmarks" / "own_pictures.py"


def test_scores_on_a_folder_are_printed_and_kept_with_a_run(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    names = ["bright", "dark", "unsure", "night"] * 10
    for number, name in enumerate(names):
        pixels = rng.integers(0, 60, (32, 32, 3)) + (150 if name == "bright" else 0)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "images" / f"p{number}.png")
    Table({"objid": [f"p{number}" for number in range(len(names))], "label": names}).write(tmp_path / "labels.csv")
    command = [sys.executable, SCRIPT, "--images", tmp_path / "images", "--labels", tmp_path / "labels.csv"]
    command += "--backbone ours=imagenet --drop unsure --merge night=dark --sizes 4 --seeds 2".split()
    done = subprocess.run([*map(str, command), "--record", str(tmp_path / "run")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "30 cutouts of 64 x 64 pixels" in done.stdout and "10 test pictures" in done.stdout
    kept = json.loads((tmp_path / "run" / "summary.json").read_text())["sections"]["own_pictures"]
    scores = {(arm, probe, size): mean for arm, probe, size, mean, *_ in kept["balanced_accuracy"]}
    assert scores["ours", "linear", 4] == scores["imagenet", "linear", 4] == 1  # nobody can miss this difference
    one, other = kept["verdicts"]
    same = {"n_labels": 4, "better": "ours linear", "worse": "imagenet linear", "mean": 0, "holds": "open"}
    assert same.items() <= one.items() and one["low"] <= 0 <= one["high"]
    assert other["worse"] == "scratch linear"
    assert kept["pictures"] == 30 and kept["test"] == 10 and kept["classes"] == {"bright": 10, "dark": 20}
    assert kept["headline"][0][0] == "own pictures, 4 labels per class, balanced accuracy"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("own_pictures", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pictures(folder, *names):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (32, 32), (10 * number + 10, 0, 0)).save(folder / name)


def test_the_table_of_the_readme_is_read_and_what_is_left_out_is_said(tmp_path, script, capsys):
    pictures(tmp_path, "a.png", "b.png", "unlabelled.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\na.png,E\ngone.png,S\nb.png,S\nunlabelled.png,\nbroken.png,E\nb.png,odd\n")
    cutouts = script.read_pictures(tmp_path, labels, "label", 16, 1.0, drop=["odd"])
    assert cutouts.labels("label").tolist() == ["E", "S"] and cutouts.images.shape[-1] == 16
    said = capsys.readouterr().out
    assert "6 rows" in said and "1 without a label, 1 dropped, 1 without a picture (gone.png)" in said
    assert "1 whose picture is left out" in said and "broken.png cannot be read" in said


@pytest.mark.parametrize(
    "names", [("x.png", "y.jpeg"), ("x", "y"), ("elsewhere/x.JPG", "y.png"), ("deep/x.png", "y.jpeg")]
)
def test_names_are_found_below_the_folder_with_another_ending_or_none(tmp_path, script, names):
    pictures(tmp_path, "deep/x.png", "y.jpeg")
    (tmp_path / "y.txt").write_text("a note beside the picture")
    for column in ("file", "ObjID"):
        Table({column: names, "label": ["E", "S"]}).write(tmp_path / "labels.csv", overwrite=True)
        cutouts = script.read_pictures(tmp_path, tmp_path / "labels.csv", "label", 16, 1.0)
        assert (cutouts.images[:, 0].mean((1, 2)) // 10).tolist() == [1, 2]


def test_pictures_that_would_count_twice_or_may_be_two_are_refused(tmp_path, script):
    pictures(tmp_path, "a.png", "b.png", "b.jpg", "c.png", "d.png", "e.png")
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\na.png,E\n./a.png,S\n")
    with pytest.raises(SystemExit, match="a.png more than once"):
        script.read_pictures(tmp_path, labels, "label", 16, 1.0)
    labels.write_text("objid,label\nb,E\n")
    with pytest.raises(SystemExit, match=r"b may be .*b.jpg or .*b.png"):
        script.read_pictures(tmp_path, labels, "label", 16, 1.0)
    labels.write_text("objid,label\n17,E\n")
    with pytest.raises(
        SystemExit, match=r"the table names 17, the folder holds a.png, b.jpg, b.png, c.png, d.png and 2 more"
    ):
        script.read_pictures(tmp_path, labels, "label", 16, 1.0)


def test_tables_without_names_are_refused(tmp_path, script):
    labels = tmp_path / "labels.csv"
    for columns, absent in ({"name": ["a"], "label": ["E"]}, "file or objid"), ({"file": ["a.png"]}, "label"):
        Table(columns).write(labels, overwrite=True)
        with pytest.raises(SystemExit, match=f"has no column {absent}: its columns are"):
            script.read_pictures(tmp_path, labels, "label", 16, 1.0)


@pytest.mark.parametrize("names", [["scratch=a"], ["ours=a", "ours=b"]])
def test_a_name_stands_for_one_backbone(names):
    command = [sys.executable, str(SCRIPT), "--images", ".", "--labels", "x.csv", "--backbone", *names]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and f"the name {names[0].split('=')[0]} is taken, give another" in done.stderr


def test_a_backbone_without_a_name_is_refused():
    command = [sys.executable, str(SCRIPT), "--images", ".", "--labels", "x.csv", "--backbone", "runs/a/b.safetensors"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "'runs/a/b.safetensors' is not of the form NAME=VALUE, such as pretext=runs/a/b.safetensors" in done.stderr
