"""fastai DataLoaders over CutoutSets that read, stretch and augment whole batches at once."""

import copy
import random

import numpy as np
import torch
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader

from astro_ssl_nb import pictures
from astro_ssl_nb.augmentations import turn_and_shift
from astro_ssl_nb.properties import property_values
from astro_ssl_nb.stretch import Stretch, stretch_of_part


class CutoutLoader(DataLoader):
    """A fastai DataLoader whose batch is one fancy index into the images.

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
    augment : callable, default=turn_and_shift
        Function of a batch of network input and a `random.Random`, for training.
    describe : callable, default=str
        A target, or a decoded prediction, in words, for `show_batch` and `show_results`.
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
    ):
        if len(cutouts) == 0:
            raise ValueError("a loader got no cutouts: the set, or the part that was selected of it, is empty")
        # A set smaller than a batch is one batch: dropping it would leave nothing to train on.
        bs = min(bs, len(cutouts))
        super().__init__(range(len(cutouts)), bs=bs, shuffle=train, drop_last=train, device=device)
        self.cutouts, self.targets, self.stretch, self.seed = cutouts, targets, stretch, seed
        self.augment, self.describe = augment, describe
        self.rng = random.Random(seed)
        self.n_inp = 1
        self.rank, self.processes, self._resumed = 0, 1, None

    def shard(self, rank, processes):
        """Read only the part of each batch that falls to one of several processes, which all take the same order.

        Raises
        ------
        ValueError
            If a training batch cannot be shared out evenly.
        """
        if self.shuffle and self.bs % processes:
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

    def create_batch(self, rows):
        # A last batch with fewer cutouts than processes goes to all of them: none may be left without.
        share = slice(self.rank, None, self.processes) if len(rows) >= self.processes else slice(None)
        rows = np.asarray(rows)[share]
        images = torch.from_numpy(np.ascontiguousarray(self.cutouts.read(rows)))
        return (images,) if self.targets is None else (images, self.targets[rows])

    def retain(self, res, b):
        return res

    def after_batch(self, batch):
        images, *targets = batch
        x = self.stretch(images)
        if not self.shuffle:
            return (x, *targets)
        # All processes draw alike from the one generator, as much as an augmentation does, and go on with their own.
        rng = self.rng if self.processes == 1 else random.Random(self.rng.getrandbits(60) + self.rank)
        return (self.augment(x, rng), *targets)

    def new(self, dataset=None, cls=None, **kwargs):
        train = kwargs.get("shuffle", self.shuffle)
        options = {name: getattr(self, name) for name in ("device", "seed", "augment", "describe")}
        options["bs"] = kwargs.get("bs", self.bs)
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


class CutoutDataLoaders(DataLoaders):
    """DataLoaders of a training and a validation CutoutSet; make them with `for_properties` or `for_classes`."""

    @classmethod
    def for_properties(cls, train, valid, properties, *, stretch="rgb", bs=64, seed=0, device=None, **kwargs):
        """DataLoaders that regress properties.

        Targets are standardised by mean and scatter of the training set; an unknown value is NaN.

        Parameters
        ----------
        train, valid : CutoutSet
        properties : sequence of Property
        stretch : {"rgb", "bands"} or Stretch, default="rgb"
        bs : int, default=64
        seed : int, default=0
        **kwargs
            Passed to both `CutoutLoader`s, such as `augment`.

        Raises
        ------
        ValueError
            If a property is known for fewer than two training cutouts, or the validation set has other bands or
            another pixel scale than the training set.

        Examples
        --------
        >>> from astropy.table import Table
        >>> from astro_ssl_nb import CutoutSet, Property
        >>> table = Table({"brightness": np.arange(20.0)})
        >>> cutouts = CutoutSet.from_arrays(np.random.default_rng(0).random((20, 3, 8, 8)), table, bands="gri")
        >>> dls = CutoutDataLoaders.for_properties(cutouts, cutouts, [Property("b", ("brightness",), "", 0, 99)], bs=4)
        >>> [tuple(part.shape) for part in dls.one_batch()]
        [(4, 3, 8, 8), (4, 1)]
        """
        values = property_values(train.catalogue, properties)
        known = np.isfinite(values).sum(0)
        if (known < 2).any():
            empty = properties[int(np.argmin(known))].name
            raise ValueError(f"property {empty!r} is known for {known.min()} of {len(train)} training cutouts: drop it")
        mean, std = np.nanmean(values, 0), np.maximum(np.nanstd(values, 0), 1e-6)
        targets = [
            torch.from_numpy((property_values(part.catalogue, properties) - mean) / std).float()
            for part in (train, valid)
        ]

        def describe(target):
            values = np.asarray(target) * std + mean
            said = [f"{p.name} {v:.2f}" for p, v in zip(properties, values, strict=True)]
            a_line = 1 if len(said) < 7 else 2
            return "\n".join(",  ".join(said[k : k + a_line]) for k in range(0, len(said), a_line))

        dls = cls._make(train, valid, targets, stretch, bs, seed, device, describe=describe, **kwargs)
        dls.properties, dls.target_mean, dls.target_std = tuple(properties), mean, std
        dls.c = len(properties)
        dls.card["properties"] = [one.name for one in properties]
        return dls

    @classmethod
    def for_classes(cls, train, valid, *, label="class", stretch="rgb", bs=64, seed=0, device=None, **kwargs):
        """DataLoaders that classify; `vocab` holds the class names in the order of the outputs.

        Parameters
        ----------
        train, valid : CutoutSet
        label : str, default="class"
            The label column.
        stretch : {"rgb", "bands"} or Stretch, default="rgb"
        bs : int, default=64
        seed : int, default=0
        **kwargs
            Passed to both `CutoutLoader`s, such as `augment`.

        Raises
        ------
        KeyError, ValueError
            If there is no such label column, a validation label that the training set lacks, or the validation set has
            other bands or another pixel scale.
        """
        names = [part.labels(label) for part in (train, valid)]
        vocab = np.unique(names[0])
        strangers = np.setdiff1d(names[1], vocab).tolist()
        if strangers:
            raise ValueError(f"the validation set has the classes {strangers}, the training set only {vocab.tolist()}")
        targets = [torch.from_numpy(np.searchsorted(vocab, part)) for part in names]
        dls = cls._make(
            train, valid, targets, stretch, bs, seed, device, describe=lambda target: str(vocab[int(target)]), **kwargs
        )
        dls.vocab = [str(name) for name in vocab]
        dls.c = len(vocab)
        dls.card["classes"] = dls.vocab
        return dls

    @classmethod
    def _make(cls, train, valid, targets, stretch, bs, seed, device, **kwargs):
        stretch = stretch.aligned(train) if isinstance(stretch, Stretch) else Stretch.fit(train, stretch)
        device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        shared = {"seed": seed, "device": device, **kwargs}
        loaders = [
            CutoutLoader(train, targets[0], stretch, bs=bs, train=True, **shared),
            CutoutLoader(valid, targets[1], stretch_of_part(stretch, train, valid), bs=2 * bs, **shared),
        ]
        dls = cls(*loaders, device=device)
        dls.stretch, dls.seed = stretch, seed
        dls.card = {"pixel_scale": train.pixel_scale, "size": train.read([0]).shape[-1], "n_train": len(train)}
        return dls

    def with_stretch(self, stretch):
        """The same loaders through another Stretch: that of a backbone, whose constants its input must keep.

        They are copies, so that learners made from the same loaders do not change each other's input.
        """
        dls = copy.copy(self)
        dls.loaders, dls.stretch = [loader.with_stretch(stretch) for loader in self.loaders], stretch
        return dls

    def stretch_for(self, cutouts):
        """The stretch of training for other cutouts.

        Raises
        ------
        ValueError
            If they have other bands or another pixel scale than the training set, or are pictures where it has fluxes.
        """
        return stretch_of_part(self.stretch, self.train.cutouts, cutouts)

    def test_dl(self, cutouts, **kwargs):
        """An unlabelled loader over other cutouts, for `learn.get_preds(dl=...)`; it raises what `stretch_for` does."""
        stretch = self.stretch_for(cutouts)
        return CutoutLoader(cutouts, None, stretch, bs=kwargs.get("bs", 2 * self.bs), device=self.device)

    def new_empty(self):
        """What `learn.export` of fastai asks for. It would pickle the learner.

        Raises
        ------
        RuntimeError
            Always, with what to call instead.
        """
        raise RuntimeError(
            "learn.export writes a pickle, which can run any code where it is loaded: keep the backbone by "
            "ssl.save_backbone(learn, path), or all weights by learn.save(name), for learn.load(name)"
        )


def _rng_state(state):
    version, internal, gauss = state  # tuples become lists on their way through a file
    return version, tuple(internal), gauss
