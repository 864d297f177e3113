"""Fine-tuning on a handful of labels: start from a linear probe that has seen views, move the network with care."""

import numpy as np
import torch
from fastai.callback.core import Callback, CancelValidException
from torch import nn

from astro_ssl_nb.backbones import read_card
from astro_ssl_nb.dataloaders import CutoutDataLoaders
from astro_ssl_nb.learners import class_learner
from astro_ssl_nb.probes import as_linear_layer, linear_probe, with_views
from astro_ssl_nb.representations import forward
from astro_ssl_nb.seeds import seeded

# Every fine-tuning gets the same number of gradient steps, however few its labels are: EPOCHS of STEPS. With more than
# STEPS batches of labels, an epoch is one pass over them.
EPOCHS, STEPS, BATCH = 4, 25, 32
# A network from nothing learns fast; a pretrained one moves slowly, its first layers slowest: each stage learns this
# many times slower than the one above it (Howard & Ruder 2018, arXiv:1801.06146).
SCRATCH_RATE, RATE, DECAY = 3e-3, 1e-3, 2.6
# The share that is kept of what the weights have moved.
KEPT = 0.5


class _NoValidation(Callback):
    """There are no labels to spare for validation, and the test set must not serve as one."""

    def before_validate(self):
        raise CancelValidException


class _FixedNorms(Callback):
    """Batch norms keep the statistics of pretraining: those of a few dozen cutouts are noise."""

    def before_train(self):
        for module in self.learn.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def few_shot_learner(labelled, label="class", *, weights=None, arch=None, stretch="rgb", seed=0):
    """A classifier fine-tuned on a few labelled cutouts, in one call.

    Pretrained weights are moved in three steps that a handful of labels can bear: the head is the linear probe on the
    frozen features, fitted to the labels and to views of them, and stays it; below the head, the last stage and all
    norms are trained before the whole network, early stages the slowest; and the result lies half the way back to the
    weights before (Wortsman et al. 2022, arXiv:2109.01903), in the place of stopping early, for which no labels are
    left. Without weights the network is trained from scratch for the same number of steps.

    Parameters
    ----------
    labelled : CutoutSet
        The few labelled cutouts, all of which are trained on.
    label : str, default="class"
    weights : {None, "imagenet"} or path, default=None
        Where the backbone starts.
    arch : str, optional
        As in `class_learner`.
    stretch : {"rgb", "bands"} or Stretch, default="rgb"
        A saved backbone brings its own, as in `embed`.
    seed : int, default=0

    Returns
    -------
    Learner
        `learn.dls.vocab` names the outputs; `learn.get_preds(dl=learn.dls.test_dl(cutouts))` gives probabilities.
        `learn.dls.valid` holds the labelled cutouts themselves: to score it, give others, as
        `learn.validate(dl=learn.dls.test_dl(test, with_labels=True))` does.

    Raises
    ------
    ValueError, FileNotFoundError
        As `class_learner`.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_ssl_nb import CutoutSet
    >>> noise = np.random.default_rng(0).random((6, 3, 16, 16))
    >>> cutouts = CutoutSet.from_arrays(noise, Table({"class": ["STAR", "QSO"] * 3}), bands="gri")
    >>> few_shot_learner(cutouts, arch="resnet10t").dls.vocab
    ['QSO', 'STAR']
    """
    # Epochs of a handful of images would be all overhead: they are repeated to fill one, each time in another order.
    # The last time is cut off, and of a table that is sorted by class it would leave out the last ones.
    labelled.labels(label)  # speaks of rows without one, before they are repeated
    rng, n = np.random.default_rng(seed), max(len(labelled), 1)
    passes = max(1, -(-STEPS * BATCH // n))
    rows = np.concatenate([rng.permutation(len(labelled)) for _ in range(passes)])[: max(n, STEPS * BATCH)]
    if weights not in (None, "imagenet") and isinstance(stretch, str):
        stretch = read_card(weights)["stretch"].kind
    options = {"label": label, "stretch": stretch, "bs": BATCH, "seed": seed}
    dls = CutoutDataLoaders.for_classes(labelled[rows], labelled, **options)
    dls.card |= {"n_train": len(labelled), "data_sha256": labelled.checksum()}
    learn = class_learner(dls, arch, weights=weights, metrics=[], cbs=[_NoValidation()])
    with seeded(seed), learn.no_bar(), learn.no_logging():
        if weights is None:
            learn.fit_one_cycle(EPOCHS, SCRATCH_RATE)
        else:
            learn.model[1] = _probe_head(learn, labelled, label, seed)
            _move(learn)
    learn.remove_cbs([_NoValidation, _FixedNorms])  # what is done with it now is the caller's
    return learn


def finetuned_probabilities(train, subset, test, label, **options):
    """Class probabilities of a test set, (N, K) array, by `few_shot_learner` on some rows of a training set."""
    learn = few_shot_learner(train[subset], label, **options)
    return torch.from_numpy(forward(learn.model, test, learn.dls.stretch_for(test))).softmax(1).numpy()


def _probe_head(learn, labelled, label, seed):
    """The linear probe on the features of the learner's backbone, as a layer.

    It has chosen its strength on the labels as they are; its plane then minds an epoch of their views as well.
    """
    names = labelled.labels(label)
    size = int(np.unique(names, return_counts=True)[1].min())
    backbone = learn.model[0].eval()
    features = forward(backbone, labelled, learn.dls.stretch)
    probe = linear_probe(size, seed).fit(features, names)
    with torch.inference_mode():
        views = [(backbone(x).cpu(), y.cpu()) for x, y in learn.dls.train]
    seen, targets = (torch.cat(parts).numpy() for parts in zip(*views, strict=True))
    probe = with_views(probe, features, names, seen, probe.classes_[targets])
    weight, bias = (torch.from_numpy(part).float() for part in as_linear_layer(probe))
    head = nn.Linear(weight.shape[1], len(weight))
    head.load_state_dict({"weight": weight, "bias": bias})
    return head.to(learn.dls.device)


def _move(learn):
    """Train all but the head gently, the last stage first, and go a part of the way back."""
    before = {name: value.clone() for name, value in learn.model.state_dict().items()}
    groups = len(learn.splitter(learn.model))
    rates = np.array([RATE / DECAY ** (groups - 1 - k) for k in range(groups)])
    rates[-1] = 0  # with a few labels per class, a head that moves gains nothing over the probe
    learn.add_cb(_FixedNorms())
    learn.create_opt()  # anew: the head is another one
    learn.freeze_to(-2)
    learn.fit(1, rates)
    learn.unfreeze()
    learn.fit_one_cycle(EPOCHS - 1, rates, pct_start=0.1)
    after = learn.model.state_dict()
    learn.model.load_state_dict(
        {name: before[name].lerp(value, KEPT) if value.is_floating_point() else value for name, value in after.items()}
    )
