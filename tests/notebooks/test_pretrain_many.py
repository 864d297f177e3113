"""The command that pretrains with several processes, where it is given what it cannot use."""

import subprocess
import sys

import numpy as np
import pytest
from astropy.table import Table

from astro_ssl_nb import CutoutSet

from ..paths import REPOSITORY

PROGRAM = REPOSITORY / "notebooks" / "pretrain_many.py"


@pytest.mark.parametrize("options, words", [((), "Stopped: property 'modelMag_u' needs"), (("--bs", "0"), "--bs 0: a")])
def test_what_it_cannot_use_is_said_in_a_sentence(tmp_path, options, words):
    pictures = np.zeros((20, 3, 32, 32), np.uint8)
    CutoutSet.from_arrays(pictures, Table({"objid": np.arange(20)}), bands="RGB").save(tmp_path / "own")
    command = [sys.executable, PROGRAM, "--data", tmp_path / "own", "--out", tmp_path / "out", *options]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode != 0 and words in done.stderr and "Traceback" not in done.stderr, done.stderr
