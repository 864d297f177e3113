"""Learners: a timm backbone with a head, trained by fastai."""

from operator import attrgetter

import fastai.callback.progress  # noqa: F401  (the progress bar is added to every Learner there)
import fastai.callback.schedule  # noqa: F401  (fit_one_cycle, fine_tune and lr_find are added to Learner there)
import numpy as np
import torch
from fastai.callback.core import Callback
from fastai.learner import Learner, Metric
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import BalancedAccuracy, F1Score, accuracy
from fastai.torch_core import rank_distrib
from fastcore.meta import delegates
from torch import nn

from astro_ssl_nb.backbones import IMAGENET_ARCH, create_backbone, imagenet_stretch, load_backbone
from astro_ssl_nb.files import file_digest
from astro_ssl_nb.losses import LOG_SCALE_RANGE, masked_l1, masked_laplace
from astro_ssl_nb.nonfinite import NoticeNaN
from astro_ssl_nb.optimiser import adamw, stages
from astro_ssl_nb.precision import MixedPrecision
from astro_ssl_nb.seeds import get_generators, seeded, set_generators
from astro_ssl_nb.stretch import check_pixel_scale


class LeanLearner(Learner):
    """A Learner that calls a callback at those events only at which it has something to do.

    fastai calls every callback at every event, and each looks for what it lacks in the learner and in the network.
    """

    def __call__(self, event_name):
        for event in [event_name] if isinstance(event_name, str) else event_name:
            for cb in sorted(self.cbs, key=attrgetter("order")):
                # At the end of a fit, fastai switches callbacks on again that were off.
                if event == "after_fit" or event in vars(cb) or hasattr(type(cb), event):
                    cb(event)


class PropertyMAE(Metric):
    """Mean absolute error of one property in its own unit, over its known values."""

    def __init__(self, dls, column):
        self.column, self.scale, self.property = column, float(dls.target_std[column]), dls.properties[column]

    def reset(self):
        self.total, self.count = 0.0, 0

    def accumulate(self, learn):
        error = (learn.pred[:, self.column] - learn.yb[0][:, self.column]).detach().abs()
        self.total += error.nansum()  # on the device, which nobody waits for before the end
        self.count += (~error.isnan()).sum()

    @property
    def value(self):
        return float(self.total / self.count) * self.scale if self.count else float("nan")

    @property
    def name(self):
        return f"{self.property.name} MAE" + (f" [{self.property.unit}]" if self.property.unit else "")


class OwnStretch(Callback):
    """Whatever loader a learner is given, it looks at the cutouts through its own stretch."""

    def before_validate(self):
        ours, theirs = self.dls.stretch, getattr(self.dl, "stretch", None)
        if theirs is not None and theirs != ours.aligned(self.dl.cutouts):
            self.learn.dl = self.dl.with_stretch(ours)


class SeededFit(Callback):
    """The order, augmentation and dropout of a fit follow from the seed, whatever drew from the generators before.

    Dropout draws from torch's global generators. A fit gives them back as they were; one that was interrupted leaves
    that to the next.
    """

    def __init__(self, seed):
        self.seed, self.before = seed, None

    def before_fit(self):
        self.before = self.before or get_generators()
        torch.manual_seed(self.seed + rank_distrib())  # processes must not drop the same
        self.dls.train.rng.seed(self.seed)
        if not hasattr(self.learn, "lr_finder"):  # a search for the rate leaves everything else as it found it
            self.seed += 1000  # the next fit of this learner draws anew

    def after_fit(self):
        set_generators(self.before)
        self.before = None


@delegates(Learner.__init__, but=["wd_bn_bias"])
def property_learner(dls, arch=None, *, weights=None, uncertainty=False, loss_func=None, metrics=None, **kwargs):
    """A fastai Learner that regresses properties from cutouts: the pretext task of Martinazzo et al. (2020).

    Parameters
    ----------
    dls : CutoutDataLoaders made by `for_properties`
    arch : str, optional
        A timm architecture; by default that of the weights, else resnet18.
    weights : {None, "imagenet"} or path, default=None
        Where the backbone starts. Pretrained weights start frozen, but for their norms, which fastai always trains:
        call `learn.unfreeze()` to train them too, or `learn.fine_tune(epochs)`, which trains the head first, then
        everything.
    uncertainty : bool, default=False
        Let the network say for each value how far it may be off, and weight its error by that.
    loss_func : callable, optional
        By default `masked_l1`, or `masked_laplace` where the network gives uncertainties.
    metrics : list, optional
        By default the mean absolute error of each property in its unit.
    **kwargs
        Passed to `fastai.learner.Learner`; by default `opt_func` and `splitter` are `optimiser.adamw` and `.stages`.
        Weight decay is of all weights, those of norms among them.

    Returns
    -------
    Learner; `learn.model[0]` is the backbone, `learn.model[1]` the head

    Raises
    ------
    ValueError, FileNotFoundError
        As `class_learner`. A fit raises FloatingPointError once its loss is not finite.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_ssl_nb import MAGNITUDES, CutoutDataLoaders, CutoutSet
    >>> noise, table = torch.rand(16, 3, 16, 16), Table({"modelMag_r": 18 + np.arange(16) / 8})
    >>> cutouts = CutoutSet.from_arrays(noise, table, bands="gri")
    >>> dls = CutoutDataLoaders.for_properties(cutouts[:8], cutouts[8:], MAGNITUDES[2:3], bs=8)
    >>> learn = property_learner(dls, "resnet10t", uncertainty=True)
    >>> with learn.no_bar(), learn.no_logging():
    ...     learn.fit_one_cycle(1, 3e-3)
    ...     magnitudes, scales = predict_properties(learn, cutouts[:5], uncertainty=True)
    >>> magnitudes.shape, bool((scales > 0).all())
    ((5, 1), True)
    """
    if not hasattr(dls, "properties"):
        raise ValueError("property_learner needs CutoutDataLoaders.for_properties; these loaders have no properties")
    if metrics is None:
        metrics = [PropertyMAE(dls, column) for column in range(len(dls.properties))]
    loss_func = loss_func or (masked_laplace if uncertainty else masked_l1)
    n_out = dls.c * (2 if uncertainty else 1)
    return _learner(dls, arch, weights, loss_func, metrics, n_out=n_out, dropout=0.0, **kwargs)


@delegates(Learner.__init__, but=["wd_bn_bias"])
def class_learner(dls, arch=None, *, weights=None, loss_func=None, metrics=None, dropout=0.25, **kwargs):
    """A fastai Learner that classifies cutouts, from a pretrained backbone or from scratch.

    Parameters
    ----------
    dls : CutoutDataLoaders made by `for_classes`
    arch : str, optional
        A timm architecture; by default that of the weights, else resnet18.
    weights : {None, "imagenet"} or path, default=None
        Where the backbone starts: at random, from ImageNet, or from a file of `save_backbone`. Pretrained weights start
        frozen, but for their norms, which fastai always trains.
    loss_func : callable, default=cross entropy
    metrics : list, optional
        By default accuracy, balanced accuracy and macro F1.
    dropout : float, default=0.25
        Before the last layer.
    **kwargs
        Passed to `fastai.learner.Learner`; by default `opt_func` and `splitter` are `optimiser.adamw` and `.stages`.
        Weight decay is of all weights, those of norms among them.

    Returns
    -------
    Learner; `learn.fine_tune(epochs)` trains the head first, then everything

    Raises
    ------
    ValueError, FileNotFoundError
        If the weights are for another architecture, stretch, bands or pixel scale, or there is no such file. The
        constants of the stretch (noise, mean, scatter) are taken over from the weights, into `learn.dls`: a copy of
        `dls` where they differ. A fit raises FloatingPointError once its loss is not finite.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_ssl_nb import CutoutDataLoaders, CutoutSet
    >>> cutouts = CutoutSet.from_arrays(torch.rand(16, 3, 16, 16), Table({"class": ["STAR", "QSO"] * 8}), bands="gri")
    >>> learn = class_learner(CutoutDataLoaders.for_classes(cutouts[:8], cutouts[8:], bs=8), "resnet10t")
    >>> with learn.no_bar(), learn.no_logging():
    ...     learn.fit_one_cycle(1, 3e-3)
    ...     probabilities, _ = learn.get_preds(dl=learn.dls.test_dl(cutouts))
    >>> learn.dls.vocab, probabilities.shape
    (['QSO', 'STAR'], torch.Size([16, 2]))
    """
    if not hasattr(dls, "vocab"):
        raise ValueError("class_learner needs CutoutDataLoaders.for_classes; these loaders have no classes")
    if metrics is None:
        metrics = [accuracy, BalancedAccuracy(), F1Score(average="macro")]
    return _learner(
        dls, arch, weights, loss_func or CrossEntropyLossFlat(), metrics, n_out=dls.c, dropout=dropout, **kwargs
    )


def _backbone_for(dls, weights, arch):
    """The backbone that `weights` name, its timm architecture, and the loaders with the stretch of its training."""
    if weights is None or weights == "imagenet":
        arch = arch or (IMAGENET_ARCH if weights == "imagenet" else "resnet18")
        backbone = create_backbone(arch, dls.stretch.n_channels, weights=weights, seed=dls.seed)
        if weights == "imagenet":
            dls = dls.with_stretch(imagenet_stretch(dls.stretch, backbone))
        return backbone, arch, dls
    backbone, card = load_backbone(weights, arch=arch)
    if card["stretch"].kind != dls.stretch.kind:
        raise ValueError(
            f"{weights} takes {card['stretch'].n_channels} channels by stretch={card['stretch'].kind!r}, the data give "
            f"{dls.stretch.n_channels} by {dls.stretch.kind!r}: make the loaders with the stretch of the backbone"
        )
    check_pixel_scale(card, dls.train.cutouts)
    stretch = card["stretch"].refit(dls.train.cutouts)  # which refuses other bands
    # Pictures have constants of their own set, and the loaders hold those, or fixed ones.
    if (stretch.fixed or not dls.train.cutouts.is_picture) and stretch != dls.stretch:
        dls = dls.with_stretch(stretch)
    return backbone, card["arch"], dls


def _learner(dls, arch, weights, loss_func, metrics, *, n_out, dropout, **kwargs):
    backbone, arch, dls = _backbone_for(dls, weights, arch)
    with seeded(dls.seed):
        head = norm_and_linear(backbone.num_features, n_out, dropout)
    model = MixedPrecision(backbone, head)
    model = model.to(memory_format=torch.channels_last)
    options = {"loss_func": loss_func, "metrics": metrics, "splitter": stages, "opt_func": adamw, **kwargs}
    learn = LeanLearner(dls, model, **options)
    learn.add_cbs([NoticeNaN(), OwnStretch(), SeededFit(dls.seed)])
    learn.arch = arch
    learn.start = weights if weights in (None, "imagenet") else file_digest(weights)  # what a checkpoint goes on from
    if weights is not None:
        learn.freeze()
    return learn


def norm_and_linear(n_features, n_out, dropout=0.0):
    """The head of a learner."""
    return nn.Sequential(nn.BatchNorm1d(n_features), nn.Dropout(dropout), nn.Linear(n_features, n_out))


def predict_properties(learn, cutouts, *, uncertainty=False):
    """What a `property_learner` measures on each cutout.

    Parameters
    ----------
    learn : Learner made by `property_learner`
    cutouts : CutoutSet of N
    uncertainty : bool, default=False
        Return also what the network gives as its scale: its errors follow a Laplace distribution of that scale.

    Returns
    -------
    ndarray of shape (N, P) in the units of the properties, or two of them

    Raises
    ------
    ValueError
        If the cutouts have other bands or another pixel scale than those of the training, or uncertainties are asked of
        a network that gives none.

    Examples
    --------
    See `property_learner`, which trains one first.
    """
    if uncertainty and learn.model[1][-1].out_features == learn.dls.c:
        raise ValueError("this network gives no uncertainties: make it with property_learner(..., uncertainty=True)")
    prediction, _ = learn.get_preds(dl=learn.dls.test_dl(cutouts))
    values, scales = in_units(np.asarray(prediction), learn.dls.target_mean, learn.dls.target_std)
    return (values, scales) if uncertainty else values


def in_units(outputs, mean, std):
    """Values (N, P) in the units of the properties, and their scales, or None, of the outputs of a network."""
    n = len(mean)
    values = outputs[:, :n] * np.asarray(std) + mean
    return values, np.exp(outputs[:, n:].clip(*LOG_SCALE_RANGE)) * np.asarray(std) if outputs.shape[1] > n else None
