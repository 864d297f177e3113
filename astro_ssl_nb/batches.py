"""A fastai DataLoader that reads, stretches and augments whole batches of cutouts at once."""

import copy
import math
import random
from functools import cached_property

import numpy as np
import torch
from fastai.data.load import DataLoader
from fastcore.basics import chunked

from astro_ssl_nb import pictures
from astro_ssl_nb.augmentations import turn_and_shift

GPU_SHARE = 0.25  # of the free memory of a GPU that the network input of one loader may fill


class CutoutLoader(DataLoader):
    """A fastai DataLoader whose batch is one fancy index into the images.

    On a GPU the network input of all cutouts is made once and stays there, unless it would fill more than a quarter of
    the free memory.

    Parameters
    ----------
    cutouts : CutoutSet
    targets : Tensor of N rows, or None for unlabelled cutouts
    stretch : Stretch
        Applied to the batch on its device.
    bs : int, default=64
    train : bool, default=False
        Shuffle, drop a last batch that is not full, and augment.
    seed : int, default=0
        Of the order and of the augmentation.
    device : torch.device or str, optional
        By default the processor.
    augment : callable, default=turn_and_shift
        Function of a batch of network input and a `random.Random`, for training.
    describe : callable, default=str
        A target, or a decoded prediction, in words, for `show_batch`, `show_results` and `predict`.
    vocab : CategoryMap, optional
        Of classes, where the interpretations of fastai look for them.
    """

    def __init__(
        self,
        cutouts,
        targets,
        stretch,
        *,
        bs=64,
        train=False,
        seed=0,
        device=None,
        augment=turn_and_shift,
        describe=str,
        vocab=None,
    ):
        if len(cutouts) == 0:
            raise ValueError("a loader got no cutouts: the set, or the part that was selected of it, is empty")
        # A set smaller than a batch is one batch: dropping it would leave nothing to train on.
        bs = min(bs, len(cutouts))
        super().__init__(range(len(cutouts)), bs=bs, shuffle=train, drop_last=train, device=device or "cpu")
        self.cutouts, self.targets, self.stretch, self.seed = cutouts, targets, stretch, seed
        self.augment, self.describe = augment, describe
        if vocab is not None:  # fastai takes loaders for those of classes if they have one
            self.vocab = vocab
        self.rng = random.Random(seed)
        self.n_inp = 1
        self.rank, self.processes, self._resumed = 0, 1, None

    def shard(self, rank, processes):
        """Read only the part of each batch that falls to one of several processes, which all take the same order.

        Raises
        ------
        ValueError
            If a batch cannot be shared out evenly.
        """
        if self.bs % processes:
            raise ValueError(f"a batch of {self.bs} cannot be shared by {processes} processes: take a multiple as bs")
        self.rank, self.processes = rank, processes

    def randomize(self):
        self._epoch_rng = self.rng.getstate()
        super().randomize()

    def position(self, seen):
        """Where the present epoch is after `seen` batches, for `go_to`."""
        return {"seen": seen, "epoch_rng": self._epoch_rng, "rng": self.rng.getstate()}

    def go_to(self, position):
        """Let the next epoch be that of `position`, without the batches that it has seen."""
        self.rng.setstate(_rng_state(position["epoch_rng"]))
        self._resumed = position

    def get_idxs(self):
        rows = super().get_idxs()
        if self._resumed is None:
            return rows
        position, self._resumed = self._resumed, None
        self.rng.setstate(_rng_state(position["rng"]))
        return rows[position["seen"] * self.bs :]

    def create_batches(self, rows):
        return map(self.create_batch, chunked(rows, self.bs, self.drop_last))

    def create_batch(self, rows):
        rows = rows[self.rank :: self.processes]
        if self._kept:
            rows = torch.tensor(rows).to(self.device, non_blocking=True)
            return tuple(part[rows] for part in self._kept)
        x = self._input(self.cutouts.read(rows))
        return (x,) if self.targets is None else (x, self.targets[rows])

    def _input(self, images):
        return self.stretch(torch.from_numpy(np.ascontiguousarray(images)).to(self.device))

    @cached_property
    def _kept(self):
        """Network input of all cutouts and their targets on the GPU; () without one, or where it has no room for them.

        A step then waits for no disk, no copy and no stretch, which took a quarter of it for small networks.
        """
        shape = (len(self.cutouts), self.stretch.n_channels, *self.cutouts.shape[2:])
        if self.device.type != "cuda" or 4 * math.prod(shape) > GPU_SHARE * torch.cuda.mem_get_info(self.device)[0]:
            return ()
        x = torch.empty(shape, device=self.device, memory_format=torch.channels_last)
        for start, images in self.cutouts.blocks():
            x[start : start + len(images)] = self._input(images)
        return (x,) if self.targets is None else (x, self.targets.to(self.device))

    def after_batch(self, batch):
        if not self.shuffle:
            return batch
        x, *targets = batch
        # All processes draw alike from the one generator, as much as an augmentation does, and go on with their own.
        rng = self.rng if self.processes == 1 else random.Random(self.rng.getrandbits(60) + self.rank)
        return (self.augment(x, rng), *targets)

    def new(self, dataset=None, cls=None, **kwargs):
        if dataset is not None:
            raise TypeError("these loaders read cutouts: for others, use `dls.test_dl(cutouts)`")
        train = kwargs.get("shuffle", self.shuffle)
        names = ("bs", "device", "seed", "augment", "describe", "vocab")
        options = {name: kwargs.get(name, getattr(self, name, None)) for name in names}
        return type(self)(self.cutouts, self.targets, self.stretch, train=train, **options)

    def with_stretch(self, stretch):
        """A loader of the same cutouts, at the same place of its order, through another Stretch."""
        loader = self.new()
        loader.stretch, loader.rng = stretch.aligned(self.cutouts), copy.copy(self.rng)
        return loader

    def show_batch(self, b=None, max_n=9, **kwargs):
        """Show cutouts as colour pictures, with their targets."""
        return pictures.show_batch(b or self.one_batch(), self, max_n=max_n)

    def show_results(self, b, out, max_n=9, **kwargs):
        """Show cutouts with target and prediction."""
        return pictures.show_batch(b, self, predictions=out, max_n=max_n)

    def decode_batch(self, b, max_n=9, full=True):
        """Cutouts, each with its targets and predictions in words: what `learn.predict` of fastai asks for."""
        x, *outputs = b
        return [(x[k], *(self.describe(output[k]) for output in outputs)) for k in range(min(max_n, len(x)))]


def _rng_state(state):
    version, internal, gauss = state  # tuples become lists on their way through a file
    return version, tuple(internal), gauss
