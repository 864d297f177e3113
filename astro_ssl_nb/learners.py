"""Learners: a timm backbone with a head, trained by fastai."""

import fastai.callback.progress  # noqa: F401  (the progress bar is added to every Learner there)
import fastai.callback.schedule  # noqa: F401  (fit_one_cycle, fine_tune and lr_find are added to Learner there)
import numpy as np
import torch
from fastai.basics import params
from fastai.learner import Learner, Metric
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import BalancedAccuracy, F1Score, accuracy
from fastcore.meta import delegates
from torch import nn

from astro_ssl_nb.backbones import IMAGENET_ARCH, create_backbone, load_backbone
from astro_ssl_nb.losses import masked_l1


class PropertyMAE(Metric):
    """Mean absolute error of one property in its own unit, over its known values."""

    def __init__(self, dls, column):
        self.column, self.scale, self.property = column, float(dls.target_std[column]), dls.properties[column]

    def reset(self):
        self.total, self.count = 0.0, 0

    def accumulate(self, learn):
        error = (learn.pred[:, self.column] - learn.yb[0][:, self.column]).detach().abs()
        self.total += float(error.nansum()) * self.scale
        self.count += int((~error.isnan()).sum())

    @property
    def value(self):
        return self.total / self.count if self.count else float("nan")

    @property
    def name(self):
        return f"{self.property.name} MAE" + (f" [{self.property.unit}]" if self.property.unit else "")


@delegates(Learner.__init__)
def property_learner(dls, arch="resnet18", *, weights=None, loss_func=masked_l1, metrics=None, **kwargs):
    """A fastai Learner that regresses properties from cutouts: the pretext task of Martinazzo et al. (2020).

    Parameters
    ----------
    dls : CutoutDataLoaders made by `for_properties`
    arch : str, default="resnet18"
        Any timm architecture.
    weights : {None, "imagenet"} or path, default=None
        Where the backbone starts.
    loss_func : callable, default=masked_l1
    metrics : list, optional
        By default the mean absolute error of each property in its unit.
    **kwargs
        Passed to `fastai.learner.Learner`.

    Returns
    -------
    Learner; `learn.model[0]` is the backbone, `learn.model[1]` the head
    """
    if not hasattr(dls, "properties"):
        raise ValueError("property_learner needs CutoutDataLoaders.for_properties; these loaders have no properties")
    if metrics is None:
        metrics = [PropertyMAE(dls, column) for column in range(len(dls.properties))]
    return _learner(dls, arch, weights, loss_func, metrics, dropout=0.0, **kwargs)


@delegates(Learner.__init__)
def class_learner(dls, arch=None, *, weights=None, loss_func=None, metrics=None, dropout=0.25, **kwargs):
    """A fastai Learner that classifies cutouts, from a pretrained backbone or from scratch.

    Parameters
    ----------
    dls : CutoutDataLoaders made by `for_classes`
    arch : str, optional
        A timm architecture; by default that of the weights, else resnet18.
    weights : {None, "imagenet"} or path, default=None
        Where the backbone starts: at random, from ImageNet, or from a file of `save_backbone`.
    loss_func : callable, default=cross entropy
    metrics : list, optional
        By default accuracy, balanced accuracy and macro F1.
    dropout : float, default=0.25
        Before the last layer.
    **kwargs
        Passed to `fastai.learner.Learner`.

    Returns
    -------
    Learner; `learn.fine_tune(epochs)` trains the head first, then everything

    Raises
    ------
    ValueError
        If the weights are for another architecture or other channels.
    """
    if not hasattr(dls, "vocab"):
        raise ValueError("class_learner needs CutoutDataLoaders.for_classes; these loaders have no classes")
    if arch is None:
        arch = IMAGENET_ARCH if weights == "imagenet" else "resnet18" if weights is None else None
    if metrics is None:
        metrics = [accuracy, BalancedAccuracy(), F1Score(average="macro")]
    return _learner(dls, arch, weights, loss_func or CrossEntropyLossFlat(), metrics, dropout=dropout, **kwargs)


def backbone_from(weights, arch, n_channels, *, seed=0):
    """The backbone that `weights` name, and its timm architecture.

    Parameters
    ----------
    weights : {None, "imagenet"} or path of a saved backbone
    arch : str or None
        None takes that of the saved backbone.
    n_channels : int
        What the data give; a saved backbone of other channels is refused.
    """
    if weights is None or weights == "imagenet":
        return create_backbone(arch, n_channels, weights=weights, seed=seed), arch
    backbone, card = load_backbone(weights, arch=arch)
    if card["stretch"].n_channels != n_channels:
        raise ValueError(
            f"{weights} takes {card['stretch'].n_channels} channels ({' '.join(card['stretch'].bands)}), the data give "
            f"{n_channels}: use stretch={card['stretch'].kind!r} with those bands"
        )
    return backbone, card["arch"]


def _learner(dls, arch, weights, loss_func, metrics, *, dropout, splitter=None, **kwargs):
    backbone, arch = backbone_from(weights, arch, dls.stretch.n_channels, seed=dls.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(dls.seed)
        head = nn.Sequential(
            nn.BatchNorm1d(backbone.num_features), nn.Dropout(dropout), nn.Linear(backbone.num_features, dls.c)
        )
    model = nn.Sequential(backbone, head)
    learn = Learner(dls, model, loss_func=loss_func, metrics=metrics, splitter=splitter or _halves, **kwargs)
    learn.arch = arch
    if weights is not None:
        learn.freeze()
    return learn


def _halves(model):
    """Parameter groups for freezing: the backbone, the head."""
    return [params(model[0]), params(model[1])]


def predict_properties(learn, cutouts):
    """Predicted properties in their own units, ndarray of shape (N, P), by a `property_learner`."""
    prediction, _ = learn.get_preds(dl=learn.dls.test_dl(cutouts))
    return np.asarray(prediction) * learn.dls.target_std + learn.dls.target_mean
