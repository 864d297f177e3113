"""One run on two processes is the run of one process."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from distributed import Client, LocalCluster

import astro_ssl_nb as ssl
from astro_ssl_nb.backbones import read_card
from astro_ssl_nb.checkpoints import read_checkpoint

from ..paths import REPOSITORY
from .small_run import no_augmentation, train_small

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
ENVIRONMENT = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
OPTIONS = {"stdout": subprocess.PIPE, "text": True, "env": ENVIRONMENT, "cwd": REPOSITORY}


@pytest.fixture(scope="module")
def folder(blobs, tmp_path_factory):
    return blobs.save(tmp_path_factory.mktemp("data") / "blobs")


def loaders(blobs, bs=20, **options):
    return ssl.CutoutDataLoaders.for_properties(blobs[:205], blobs[205:300], ssl.MAGNITUDES[1:], bs=bs, **options)


def test_shares_of_a_batch_are_disjoint_and_make_up_the_batch(blobs):
    whole, *parts = (loaders(blobs, augment=no_augmentation) for _ in range(3))
    for rank, part in enumerate(parts):
        part.train.shard(rank, 2)
    epochs = [[batch[1][:, 0].tolist() for _ in range(2) for batch in dls.train] for dls in (whole, *parts)]
    for one, first, second in zip(*epochs, strict=True):
        assert len(first) == len(second) == 10
        assert set(first) | set(second) == set(one) and len(set(one)) == 20


def test_shares_that_would_be_uneven_are_refused(blobs):
    with pytest.raises(ValueError, match="a batch of 20 cannot be shared by 3 processes"):
        loaders(blobs).train.shard(0, 3)


def test_processes_augment_their_shares_differently(blobs):
    flat = blobs[np.zeros(205, int)].with_columns(**{"class": np.arange(205) % 2})  # one cutout, again and again
    batches = []
    for rank in range(2):
        dls = ssl.CutoutDataLoaders.for_classes(flat, flat, bs=20, stretch=ssl.Stretch.fit(blobs))
        dls.train.shard(rank, 2)
        batches.append(dls.one_batch()[0])
    assert not (batches[0] == batches[1]).all()


def test_two_processes_have_the_losses_of_one(folder, tmp_path):
    one = train_small(folder, tmp_path / "one.pt", augment=no_augmentation)
    command = [*TORCHRUN, Path(__file__).with_name("small_run.py"), folder, tmp_path / "two.pt", "plain"]
    job = subprocess.run(command, check=True, **OPTIONS)
    printed = np.array([line.split() for line in job.stdout.splitlines()], float)
    shares = [printed[printed[:, 0] == rank, 1] for rank in (0, 1)]
    assert (shares[0] != shares[1]).all()
    two = np.mean(shares, axis=0)
    # The same numbers but for the order of their sums; training makes such differences grow.
    np.testing.assert_allclose(two[:10], one[:10], rtol=1e-5)
    np.testing.assert_allclose(two, one, rtol=1e-3)
    assert len(two) == 30
    first, second = (read_checkpoint(tmp_path / name)["model"] for name in ("one.pt", "two.pt"))
    assert first.keys() == second.keys()
    for name in (name for name in first if "running" in name):
        close = np.isclose(first[name], second[name], rtol=0.01, atol=1e-4)
        assert close.mean() > 0.95, f"{name}: {(~close).sum()} of {close.size} statistics differ"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.pt", "two.pt"]


@contextmanager
def started(command):
    """A job that leaves no process behind, however the test ends: the workers of torchrun outlive it."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, **OPTIONS) as job:
        try:
            yield job
        finally:
            if job.poll() is None:
                for one in [*psutil.Process(job.pid).children(recursive=True), job]:
                    one.kill()


def rank_of(process):
    try:
        return process.environ().get("RANK")
    except psutil.Error:  # a helper that has ended since it was listed
        return None


def test_a_killed_worker_ends_the_job_and_the_same_command_goes_on(folder, tmp_path):
    out = tmp_path / "run"
    options = ["--data", folder, "--out", out, "--arch", "resnet10t", "--epochs", "4", "--bs", "20", "--every", "3"]
    command = [*TORCHRUN, REPOSITORY / "notebooks" / "pretrain_many.py", *map(str, options)]
    with started(command) as job:
        assert "no checkpoint" in job.stdout.readline()
        assert "checkpoint written" in job.stdout.readline()
        workers = psutil.Process(job.pid).children(recursive=True)
        (second,) = [one for one in workers if rank_of(one) == "1"]
        second.send_signal(signal.SIGKILL)
        _, said = job.communicate()
    assert job.returncode != 0
    # Whether the other process misses its partner first, or is ended by torchrun first, it says how to go on.
    assert f"The same command goes on from {out / 'checkpoint.pt'}." in said and "SIGKILL" in said
    assert not psutil.wait_procs(workers, timeout=60)[1]
    step = read_checkpoint(out / "checkpoint.pt")["step"]
    assert 3 <= step < 4 * (270 // 20)

    again = subprocess.run(command, check=True, **OPTIONS).stdout.splitlines()
    assert again[0] == f"The same command goes on from {out / 'checkpoint.pt'}."
    assert again[1].startswith(f"step {step + 3 - step % 3}: loss ")
    assert again[-1].endswith("2 processes")
    assert sorted(path.name for path in out.iterdir()) == ["backbone.safetensors", "checkpoint.pt"]
    assert read_card(out / "backbone.safetensors")["metrics"]["valid_loss"] < 1


def test_dask_example_of_the_book_embeds_and_goes_on(blobs, folder, backbone, tmp_path):
    page = (REPOSITORY / "jupyter-book" / "survey_scale.md").read_text()
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "LocalCluster" in code]
    book = {"__name__": "book"}
    exec(code, book)
    out = tmp_path / "features"
    settings = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with LocalCluster(**settings) as cluster, Client(cluster) as client:
        parts = book["embed_all"](client, str(backbone), str(folder), str(out), piece=120)
        whole = np.concatenate([np.load(part) for part in parts])
        np.testing.assert_allclose(whole, ssl.embed(backbone, blobs), atol=1e-4)
        Path(parts[1]).unlink()
        written = {part: Path(part).stat().st_mtime_ns for part in (parts[0], parts[2])}
        assert book["embed_all"](client, str(backbone), str(folder), str(out), piece=120) == parts
    assert {part: Path(part).stat().st_mtime_ns for part in written} == written
    assert sorted(map(str, out.iterdir())) == parts
