"""The command that tries a backbone on a folder of pictures, run as a reader would."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "own_pictures.py"


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
    assert kept["pictures"] == 30 and kept["headline"][0][0] == "own pictures, 4 labels per class"


def test_the_table_of_the_readme_is_read_and_one_without_names_is_refused(tmp_path):
    spec = importlib.util.spec_from_file_location("own_pictures", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for name in ("a.png", "b.png", "unlabelled.png"):
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / name)
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\na.png,E\ngone.png,S\nb.png,S\nunlabelled.png,\n")
    cutouts = script.read_pictures(tmp_path, labels, "label", 16, 1.0)
    assert cutouts.labels("label").tolist() == ["E", "S"] and cutouts.images.shape[-1] == 16
    for columns, absent in ({"name": ["a"], "label": ["E"]}, "file or objid"), ({"file": ["a.png"]}, "label"):
        Table(columns).write(labels, overwrite=True)
        with pytest.raises(SystemExit, match=f"has no column {absent}: its columns are"):
            script.read_pictures(tmp_path, labels, "label", 16, 1.0)


def test_a_backbone_without_a_name_is_refused():
    command = [sys.executable, str(SCRIPT), "--images", ".", "--labels", "x.csv", "--backbone", "runs/a/b.safetensors"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "'runs/a/b.safetensors' is not of the form NAME=VALUE, such as pretext=runs/a/b.safetensors" in done.stderr
