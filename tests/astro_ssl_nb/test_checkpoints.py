"""A run that is stopped, however it is stopped, goes on as if it had not been."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fastai.callback.core import Callback
from fastai.learner import Learner

import astro_ssl_nb as ssl
from astro_ssl_nb.augmentations import turn_and_shift
from astro_ssl_nb.checkpoints import read_checkpoint

from .small_run import Watch, train_small

EPOCHS, BATCHES = 3, 6
RUN = Path(__file__).with_name("small_run.py")


def train(
    cutouts, path, *, every=4, stop_after=None, seed=0, epochs=EPOCHS, cbs=(), stretch="rgb", rate=3e-3, **options
):
    """Losses of each step, and the weights at the end; dropout and augmentation take part."""
    dls = ssl.CutoutDataLoaders.for_classes(cutouts[:100], cutouts[100:120], bs=16, seed=seed, stretch=stretch)
    learn = ssl.class_learner(dls, "resnet10t", metrics=[], **options)
    losses = Watch(stop_after=stop_after)
    callbacks = [losses, *cbs] + ([] if path is None else [ssl.Checkpoint(path, every=every)])
    torch.manual_seed(5)
    with learn.no_bar(), learn.no_logging():
        try:
            learn.fit_one_cycle(epochs, rate, cbs=callbacks)
        except KeyboardInterrupt:
            torch.manual_seed(6)
    return losses.steps, torch.cat([p.detach().flatten() for p in learn.model.parameters()]), learn


def fit(cutouts, path, *, change=lambda learn: None, bs=16, augment=turn_and_shift, **options):
    """An epoch of measuring, with a checkpoint, by a learner to which `change` is done first."""
    dls = ssl.CutoutDataLoaders.for_properties(
        cutouts[:32], cutouts[32:40], ssl.MAGNITUDES[1:3], bs=bs, augment=augment
    )
    learn = ssl.property_learner(dls, "resnet10t", metrics=[], **options)
    change(learn)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(1, 1e-3, cbs=[ssl.Checkpoint(path)])


@pytest.fixture(scope="module")
def whole(blobs):
    return train(blobs, None)


def test_checkpoints_change_nothing(blobs, whole, tmp_path):
    losses, weights, _ = train(blobs, tmp_path / "run.pt")
    assert losses == whole[0] and torch.equal(weights, whole[1])
    assert len(losses) == EPOCHS * BATCHES
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]


@pytest.mark.parametrize(
    ("stop_after", "kept"), [(5, 4), (8, 8), (11, 8), (13, 12)], ids=["epoch 1", "epoch 2", "epoch 2, later", "epoch 3"]
)
def test_resumed_run_has_the_losses_of_one_that_was_not_stopped(blobs, whole, tmp_path, stop_after, kept):
    before, *_ = train(blobs, tmp_path / "run.pt", stop_after=stop_after)
    assert before == whole[0][:stop_after]
    assert read_checkpoint(tmp_path / "run.pt")["step"] == kept
    after, weights, learn = train(blobs, tmp_path / "run.pt")
    assert after == whole[0][kept:]
    assert torch.equal(weights, whole[1])
    assert [row[0] for row in learn.recorder.values[-1:]] == [row[0] for row in whole[2].recorder.values[-1:]]


def test_finished_run_is_not_trained_again(blobs, whole, tmp_path):
    train(blobs, tmp_path / "run.pt")
    losses, weights, _ = train(blobs, tmp_path / "run.pt")
    assert losses == [] and torch.equal(weights, whole[1])


def test_checkpoint_of_another_run_is_refused(blobs, tmp_path):
    train(blobs, tmp_path / "run.pt", stop_after=4)
    others = {
        "seed": {"seed": 1},
        "epochs": {"epochs": 4},
        "learning rates": {"rate": 1e-3},
        "loss": {"loss_func": torch.nn.functional.multi_margin_loss},
        "dropout": {"dropout": 0.5},
        "stretch": {"stretch": ssl.Stretch.fit(ssl.CutoutSet.from_arrays(2 * blobs.images, blobs.catalogue))},
    }
    for name, change in others.items():
        with pytest.raises(ValueError, match=f"run with another value of {name}"):
            train(blobs, tmp_path / "run.pt", **change)
    relabelled = blobs.with_columns(**{"class": blobs.labels("class")[::-1]})
    with pytest.raises(ValueError, match="another value of targets"):
        train(relabelled, tmp_path / "run.pt")
    with pytest.raises(ValueError, match="another value of size of the cutouts"):
        smaller = ssl.CutoutSet.from_arrays(blobs.images[..., 2:14, 2:14], blobs.catalogue)
        train(smaller, tmp_path / "run.pt", stretch=ssl.Stretch.fit(blobs))


def test_a_fit_of_other_layers_or_of_corrected_measurements_is_another_run(blobs, tmp_path):
    fit(blobs, tmp_path / "frozen.pt", change=Learner.freeze)
    with pytest.raises(ValueError, match="another value of layers that are frozen"):
        fit(blobs, tmp_path / "frozen.pt")
    fit(blobs, tmp_path / "all.pt")
    with pytest.raises(ValueError, match="another value of targets"):
        fit(blobs.with_columns(modelMag_r=blobs.catalogue["modelMag_r"] + 0.01), tmp_path / "all.pt")


def test_other_properties_are_another_run_and_a_second_fit_is_refused(parts, tmp_path):
    for properties, match in ((ssl.MAGNITUDES[1:3], "kept one fit to its end"), (ssl.MAGNITUDES[2:4], "targets")):
        dls = ssl.CutoutDataLoaders.for_properties(parts[0][:16], parts[1][:8], properties, bs=16)
        learn = ssl.property_learner(dls, "resnet10t", metrics=[])
        with learn.no_bar(), learn.no_logging(), pytest.raises(ValueError, match=match):
            learn.fine_tune(1, cbs=[ssl.Checkpoint(tmp_path / "run.pt")])


def test_other_cutouts_are_another_run(blobs, tmp_path):
    train(blobs, tmp_path / "run.pt", stop_after=4)
    with pytest.raises(ValueError, match="another value of training objects"):
        train(blobs[::-1], tmp_path / "run.pt")


def test_killed_process_goes_on(blobs, tmp_path):
    """SIGKILL leaves no time to write anything: what is on disk must do."""
    folder = blobs.save(tmp_path / "blobs")
    with subprocess.Popen([sys.executable, RUN, folder, tmp_path / "run.pt"], stdout=subprocess.PIPE, text=True) as run:
        lines = [run.stdout.readline() for _ in range(7)]
        run.kill()
        lines += run.stdout.readlines()
    assert run.returncode == -signal.SIGKILL
    step = read_checkpoint(tmp_path / "run.pt")["step"]
    assert 3 <= step <= len(lines)
    resumed, uninterrupted = (train_small(folder, tmp_path / name) for name in ("run.pt", "whole.pt"))
    assert resumed == uninterrupted[step:] and len(resumed) > 5
    assert [float(line.split()[1]) for line in lines] == uninterrupted[: len(lines)]


def test_full_disk_stops_the_run_and_leaves_the_last_checkpoint(blobs, tmp_path, small_disk):
    path = tmp_path / "run.pt"
    train(blobs, path, stop_after=4)
    kept = path.read_bytes()
    said = "step 8 cannot be written to .*too large.*the checkpoint before it stands"
    with small_disk(len(kept) // 2), pytest.raises(OSError, match=said):
        train(blobs, path)
    assert path.read_bytes() == kept and [one.name for one in tmp_path.iterdir()] == ["run.pt"]
    assert read_checkpoint(path)["step"] == 4


def test_interrupted_write_leaves_the_last_checkpoint(blobs, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    train(blobs, path, stop_after=4)

    def interrupted(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    losses, *_ = train(blobs, path)
    monkeypatch.undo()
    assert len(losses) == 4 - 1 and read_checkpoint(path)["step"] == 4
    assert len(train(blobs, path)[0]) == EPOCHS * BATCHES - 4


def test_diverging_run_stops_before_its_weights_are_spoilt(blobs, tmp_path):
    class Diverge(Callback):
        order = -1

        def after_loss(self):
            if self.training and self.train_iter == 6:
                self.learn.loss = self.learn.loss_grad = self.loss * float("nan")

    with pytest.raises(FloatingPointError, match=r"nan at step 7: all pixels are finite.*step 4 in .*run\.pt"):
        train(blobs, tmp_path / "run.pt", cbs=[Diverge(), ssl.StopAtNaN()])
    kept = read_checkpoint(tmp_path / "run.pt")
    assert kept["step"] == 4 and all(value.isfinite().all() for value in kept["model"].values())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_corrupt_cutouts_are_named(blobs, tmp_path, value):
    images = blobs.images.copy()
    images[[7, 30], 2, 5, 5] = value
    cutouts = ssl.CutoutSet.from_arrays(images, blobs.catalogue)
    ids = ", ".join(str(cutouts.catalogue["objid"][row]) for row in (7, 30))
    stretch = ssl.Stretch.fit(blobs)
    for callbacks, when in (([ssl.StopAtNaN()], "at"), ([], "after")):
        with pytest.raises(FloatingPointError, match=f"nan {when} step .: 2 of 100 training cutouts.*objid {ids}"):
            train(cutouts, None, cbs=callbacks, stretch=stretch)
    good = np.setdiff1d(np.arange(len(cutouts)), ssl.nonfinite_rows(cutouts))
    assert np.isfinite(train(cutouts[good], None, cbs=[ssl.StopAtNaN()])[0]).all()


@pytest.mark.parametrize("broken", ["half", "text", "pickle", "other"])
def test_file_that_is_no_checkpoint_is_refused(blobs, tmp_path, broken):
    path = tmp_path / "run.pt"
    train(blobs, path, stop_after=4)
    if broken == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif broken == "text":
        path.write_text("<html>not found</html>")
    elif broken == "pickle":
        torch.save({"format": 1, "run": Path("touched")}, path)  # any class but those of numbers and tensors
    else:
        torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="not a checkpoint, or not a whole one"):
        train(blobs, path)


def test_invariance_is_refused(parts, tmp_path):
    dls = ssl.CutoutDataLoaders.for_properties(*parts[:2], ssl.MAGNITUDES, bs=25)
    learn = ssl.property_learner(dls, "resnet10t", cbs=[ssl.Invariance()])
    with learn.no_bar(), learn.no_logging(), pytest.raises(ValueError, match="does not keep the projector"):
        learn.fit(1, cbs=[ssl.Checkpoint(tmp_path / "run.pt")])


def test_another_augmentation_or_weight_decay_is_another_run(blobs, tmp_path):
    path = tmp_path / "run.pt"
    fit(blobs, path, wd=0.01)
    with pytest.raises(ValueError, match="another value of augmentation .turn_and_shift there, at_any_distance here"):
        fit(blobs, path, wd=0.01, augment=ssl.at_any_distance)
    with pytest.raises(ValueError, match="another value of weight decay"):
        fit(blobs, path, wd=0.3)


def test_a_run_from_other_weights_is_another_run(blobs, backbone, tmp_path):
    fit(blobs, tmp_path / "run.pt")
    with pytest.raises(ValueError, match="another value of starting weights .None there, [0-9a-f]+ here"):
        fit(blobs, tmp_path / "run.pt", weights=backbone, change=Learner.unfreeze)


def test_another_batch_size_or_number_of_processes_is_another_run(blobs, tmp_path):
    path = tmp_path / "run.pt"
    fit(blobs, path)
    kept = path.read_bytes()
    with pytest.raises(ValueError, match="another value of batch size .16 there, 8 here"):
        fit(blobs, path, bs=8)
    with pytest.raises(ValueError, match="another value of processes .1 there, 2 here"):
        fit(blobs, path, change=lambda learn: learn.dls.train.shard(0, 2))
    assert path.read_bytes() == kept
