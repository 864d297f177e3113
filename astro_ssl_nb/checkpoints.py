"""Checkpoints: a run that was stopped, however it was stopped, goes on as if nothing had happened."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import torch
from fastai.callback.core import Callback, CancelEpochException
from fastai.torch_core import get_model, rank_distrib
from torch import nn

from astro_ssl_nb.columns import as_floats
from astro_ssl_nb.files import whole_file
from astro_ssl_nb.seeds import get_generators, set_generators

FORMAT = 5  # 1 held the state of another optimiser, 2 to 4 did not say all of what was learned and how


class Checkpoint(Callback):
    """fastai callback: write all that a run needs to go on, every n steps, and go on from there if it is there.

    Give it to the call that trains, and make the same call again after a crash: the losses that follow are those of a
    run that was never stopped, bit for bit on the same kind of processor and number of threads. fastai's
    `SaveModelCallback` keeps weights, and the optimiser if asked; a run also has a place in its schedule and in the
    order of its epoch, and generators of random numbers. The file is written under a temporary name first, so it is
    always whole.

    It keeps one fit. `fine_tune` is two: call `fit_one_cycle` before and after `learn.unfreeze()`, each with a
    Checkpoint of its own.

    Parameters
    ----------
    path : path-like
        The file. Remove it to start anew.
    every : int, default=100
        Steps between two writes; the last step of a run is always written.

    Raises
    ------
    ValueError
        If the file is no checkpoint, or one of another run: of other objects, targets, loss, stretch or learning rates,
        say. If it is given to a second fit.
    OSError
        If the file cannot be written. The one before stands.

    Examples
    --------
    Start, or go on::

        learn = ssl.property_learner(dls, "resnet18")
        learn.fit_one_cycle(20, 3e-3, cbs=[ssl.Checkpoint("run/checkpoint.pt", every=500), ssl.StopAtNaN()])
    """

    order = 70  # after all that sets a learner up: the recorder (50) and the schedule (60) among them

    def __init__(self, path, *, every=100):
        self.path, self.every, self.step, self.finished = Path(path), every, None, False

    def before_fit(self):
        if self.finished:
            raise ValueError(
                f"the checkpoint {self.path} has kept one fit to its end, this is a second one: give each fit a "
                "Checkpoint with a path of its own; instead of fine_tune call fit_one_cycle before and after "
                "learn.unfreeze()"
            )
        if hasattr(self.learn, "invariance"):
            raise ValueError("Checkpoint does not keep the projector of Invariance: pretrain without one of the two")
        self.identity = self._identity()
        self.resumed = read_checkpoint(self.path, self.identity) if self.path.exists() else None
        if self.resumed:
            get_model(self.model).load_state_dict(self.resumed["model"])
            self.opt.load_state_dict(self.resumed["opt"])
            self.learn.train_iter = self.step = self.resumed["step"]
            self.recorder.smooth_loss.val, self.recorder.smooth_loss.count = self.resumed["smooth_loss"]

    def before_epoch(self):
        if self.resumed and self.epoch < self.resumed["epoch"]:
            raise CancelEpochException

    def before_train(self):
        self.seen = 0
        if self.resumed:
            self.learn.pct_train, self.seen = self.resumed["pct_train"], self.resumed["loader"]["seen"]
            self.dls.train.go_to(self.resumed["loader"])

    def before_batch(self):
        # Not before the first batch is there: to begin an epoch, torch's loader draws a number.
        if self.resumed:
            if rank_distrib() == 0:  # others would draw the same dropout as the first
                set_generators(self.resumed["generators"])
            self.resumed = None

    after_train = before_batch  # where no batch was left in the epoch

    def after_fit(self):
        self.finished = True

    def after_batch(self):
        if not self.training:
            return
        self.seen += 1
        if self.train_iter % self.every == 0 or self.train_iter == self.n_epoch * self.n_iter:
            self._write()

    def _write(self):
        if rank_distrib() == 0:
            state = {
                "format": FORMAT,
                "run": self.identity,
                "step": self.train_iter,
                "epoch": self.epoch,
                "pct_train": self.pct_train,
                "loader": self.dls.train.position(self.seen),
                "generators": get_generators(),
                "smooth_loss": (self.recorder.smooth_loss.val, self.recorder.smooth_loss.count),
                "model": get_model(self.model).state_dict(),
                "opt": self.opt.state_dict(),
            }
            write_checkpoint(state, self.path)
        self.step = self.train_iter

    def _identity(self):
        """What a run must have in common with the one that it goes on with."""
        loader = self.dls.train
        ids = np.asarray(loader.cutouts.catalogue["objid"]).astype(str)
        return {
            "arch": self.learn.arch,
            "starting weights": str(self.learn.start),
            "epochs": self.n_epoch,
            "batch size": loader.bs,
            "processes": loader.processes,
            "seed": loader.seed,
            "training objects": _digest(ids.tobytes()),
            "size of the cutouts": str(loader.cutouts.shape[1:]),
            "layers that are frozen": self.opt.frozen_idx,
            "targets": self._targets(),
            "loss": _name(self.loss_func),
            "stretch": _constants(self.dls.stretch),
            "augmentation": _name(loader.augment),
            "dropout": str([layer.p for layer in self.model.modules() if isinstance(layer, nn.Dropout)]),
            "weight decay": str(sorted({hyper.get("wd", hyper.get("weight_decay")) for hyper in self.opt.hypers})),
            "learning rates": self._rates(),
        }

    def _targets(self):
        """Names of the properties or classes, and what the objects have: two catalogues may have the same names."""
        targets, catalogue = self.dls.train.targets, self.dls.train.cutouts.catalogue
        if targets.is_floating_point():
            # The columns as they are: the last digits of what is computed of them differ from machine to machine.
            columns = sorted({column for one in self.dls.properties for column in one.columns})
            found = [as_floats(catalogue[name]).tobytes() for name in columns]
            return f"{', '.join(one.name for one in self.dls.properties)} ({_digest(b''.join(found))})"
        return f"{', '.join(self.dls.vocab)} ({_digest(targets.numpy().tobytes())})"

    def _rates(self):
        """The highest, and a digest of those of all layers through the run."""
        schedule = getattr(self.learn, "param_scheduler", None)
        rates = [self.opt.hypers[k]["lr"] for k in range(len(self.opt.hypers))]
        through = [np.asarray(rates)]
        if schedule and "lr" in schedule.scheds:
            through = [np.broadcast_to(schedule.scheds["lr"](pct), len(rates)) for pct in np.linspace(0, 1, 21)]
        # Rounded: the last digits may differ from machine to machine.
        said = " ".join(f"{rate:.5g}" for rate in np.ravel(through))
        return f"up to {np.max(through):.5g} ({_digest(said.encode())})"


def _digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


def _name(function):
    function = getattr(function, "func", function)  # of a partial, or of a loss of fastai
    return getattr(function, "__name__", type(function).__name__)


def _constants(stretch):
    """A stretch in words; rounded, as the last digits may differ with the number of threads."""
    constants = " ".join(f"{value:.2g}" for value in (*stretch.mean, *stretch.std))
    return f"{stretch.kind} of {' '.join(stretch.bands)}, mean and scatter {constants}"


def write_checkpoint(state, path):
    """Write a nested dict of tensors, numbers and text: the whole file or, with an OSError, none of it."""
    try:
        with whole_file(path) as file:
            torch.save(_plain(state), file)
    except (OSError, RuntimeError) as error:  # torch's writer raises its own error over that of the system
        why = error.strerror if isinstance(error, OSError) else getattr(error.__context__, "strerror", None) or error
        before = "the checkpoint before it stands" if path.exists() else "there is no earlier one"
        raise OSError(
            f"the checkpoint of step {state['step']} cannot be written to {path} ({why}); {before}: make room, then "
            "start the same run again"
        ) from error


def read_checkpoint(path, run=None):
    """The dict that `write_checkpoint` wrote; nothing in the file is run as code.

    Parameters
    ----------
    path : path-like
    run : dict, optional
        Refuse a checkpoint of a run that differs in one of these.

    Raises
    ------
    ValueError
        If the file is not a whole checkpoint, or one of another run.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        version, theirs = state["format"], state["run"]
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a checkpoint, or not a whole one: remove it, and start anew") from error
    if version != FORMAT:
        raise ValueError(f"{path} is a checkpoint of format {version}, this version reads {FORMAT}: remove it")
    for name, ours in (run or {}).items():
        if theirs.get(name) != ours:
            raise ValueError(
                f"{path} is of a run with another value of {name} ({theirs.get(name)} there, {ours} here): "
                "give its values to go on with it, or another path to start anew"
            )
    return state


def _plain(value):
    """The same with tensors of torch itself, and containers and numbers of Python: what is read back without code."""
    if isinstance(value, torch.Tensor):
        return value.detach().as_subclass(torch.Tensor)
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, bool | int | float | str | None) else [_plain(one) for one in value]
