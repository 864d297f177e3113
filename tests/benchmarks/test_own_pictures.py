"""The command that tries a backbone on a folder of pictures, run as a reader would."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
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
    (size, better, worse, mean, low, high, holds), other = kept["verdicts"]
    assert (size, better, worse, mean, holds) == (4, "ours linear", "imagenet linear", 0, "open") and low <= 0 <= high
    assert other[2] == "scratch linear"
    assert kept["pictures"] == 30 and kept["headline"][0][0] == "own pictures, 4 labels per class"


def test_a_backbone_without_a_name_is_refused():
    command = [sys.executable, str(SCRIPT), "--images", ".", "--labels", "x.csv", "--backbone", "runs/a/b.safetensors"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "'runs/a/b.safetensors' is not of the form NAME=VALUE, such as pretext=runs/a/b.safetensors" in done.stderr
