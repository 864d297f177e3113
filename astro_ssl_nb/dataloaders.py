"""fastai DataLoaders of a training and a validation CutoutSet, with targets from their catalogues."""

import copy

import numpy as np
import torch
from fastai.data.core import DataLoaders
from fastai.data.transforms import CategoryMap

from astro_ssl_nb.batches import CutoutLoader
from astro_ssl_nb.columns import learnable_classes, refuse_strangers
from astro_ssl_nb.properties import property_values
from astro_ssl_nb.stretch import Stretch, stretch_of_part


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
        device : torch.device or str, optional
            By default the GPU, where there is one.
        **kwargs
            Passed to both `CutoutLoader`s, such as `augment`.

        Raises
        ------
        ValueError
            If there is no property, one is known for fewer than two training cutouts or has one value in all of them,
            or the validation set has other bands or another pixel scale than the training set.
        KeyError
            If the catalogue lacks a column.

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
        if not properties:
            raise ValueError("there is no property to learn: give some, such as MAGNITUDES")
        values = property_values(train.catalogue, properties)
        known = np.isfinite(values).sum(0)
        if (known < 2).any():
            empty = properties[int(np.argmin(known))].name
            raise ValueError(f"property {empty!r} is known for {known.min()} of {len(train)} training cutouts: drop it")
        mean, std = np.nanmean(values, 0, dtype=np.float64), np.nanstd(values, 0, dtype=np.float64)
        spread = np.nanmax(values, 0) - np.nanmin(values, 0)
        constant = np.flatnonzero(spread <= 4 * np.finfo(np.float32).eps * np.abs(mean))  # but for rounding
        if len(constant):
            name = properties[constant[0]].name
            raise ValueError(f"property {name!r} has one value in all training cutouts: drop it")

        def targets_of(part):
            return torch.from_numpy((property_values(part.catalogue, properties) - mean) / std).float()

        def describe(target):
            known = torch.as_tensor(target)[: len(properties)].cpu()  # behind them stand uncertainties, if any
            values = known.numpy() * std + mean
            said = [f"{p.name} {v:.2f}" for p, v in zip(properties, values, strict=True)]
            a_line = 1 if len(said) < 7 else 2
            return "\n".join(",  ".join(said[k : k + a_line]) for k in range(0, len(said), a_line))

        dls = cls._make(train, valid, targets_of, stretch, bs, seed, device, describe=describe, **kwargs)
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
        device : torch.device or str, optional
            By default the GPU, where there is one.
        **kwargs
            Passed to both `CutoutLoader`s, such as `augment`.

        Raises
        ------
        KeyError, ValueError
            If there is no such label column, one class only, a validation label that the training set lacks, or the
            validation set has other bands or another pixel scale.
        """
        vocab = learnable_classes(train.labels(label))

        def targets_of(part):
            names = part.labels(label)
            refuse_strangers(names, vocab)
            return torch.from_numpy(np.searchsorted(vocab, names))

        def describe(target):
            return str(vocab[int(target)])

        options = {"describe": describe, "vocab": CategoryMap(vocab.tolist()), **kwargs}
        dls = cls._make(train, valid, targets_of, stretch, bs, seed, device, **options)
        dls.vocab = vocab.tolist()
        dls.c = len(vocab)
        dls.card["classes"] = dls.vocab
        return dls

    @classmethod
    def _make(cls, train, valid, targets_of, stretch, bs, seed, device, **kwargs):
        stretch = stretch.aligned(train) if isinstance(stretch, Stretch) else Stretch.fit(train, stretch)
        device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        shared = {"seed": seed, "device": device, **kwargs}
        loaders = [
            CutoutLoader(train, targets_of(train), stretch, bs=bs, train=True, **shared),
            CutoutLoader(valid, targets_of(valid), stretch_of_part(stretch, train, valid), bs=2 * bs, **shared),
        ]
        dls = cls(*loaders, device=device)
        dls.stretch, dls.seed, dls.targets_of = stretch, seed, targets_of
        dls.card = {"pixel_scale": train.pixel_scale, "size": train.shape[-1], "n_train": len(train)}
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

    def test_dl(self, cutouts, *, with_labels=False, bs=None, **kwargs):
        """A loader over other cutouts, for `learn.get_preds(dl=...)` or, with labels, `learn.validate(dl=...)`.

        Parameters
        ----------
        cutouts : CutoutSet, or a list of one, as `learn.predict` gives it
        with_labels : bool, default=False
            Give targets too: the properties or the classes of their catalogue.
        bs : int, optional
        **kwargs
            What fastai says besides, of which nothing is needed here.

        Raises
        ------
        ValueError
            As `stretch_for`; also if a label is none of the classes of training.
        """
        (cutouts,) = cutouts if isinstance(cutouts, list) else (cutouts,)
        targets = self.targets_of(cutouts) if with_labels else None
        options = {"bs": bs or 2 * self.bs, "device": self.device}
        options |= {"describe": self.train.describe, "vocab": getattr(self.train, "vocab", None)}
        return CutoutLoader(cutouts, targets, self.stretch_for(cutouts), **options)

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
