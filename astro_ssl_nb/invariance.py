"""A joint pretext: measure properties, and see the same object in two views of it."""

import random

import torch
from fastai.callback.core import Callback
from fastai.torch_core import num_distrib
from torch import nn

from astro_ssl_nb.augmentations import distort
from astro_ssl_nb.losses import vicreg
from astro_ssl_nb.seeds import seeded

WIDTH = 256  # of the projected space


class Invariance(Callback):
    """fastai callback that adds augmentation invariance to the loss of a learner.

    Each training batch is seen a second time, distorted, and VICReg pulls the two sets of features together in a
    projected space: the projection may forget what distortion changes (brightness, size), the features need not.

    Parameters
    ----------
    weight : float, default=0.02
        Of the VICReg loss beside the learner's own; VICReg's own weights make it about 25 times a usual loss.
    seed : int, default=0

    Raises
    ------
    ValueError
        If the fit is shared by several processes, each of which would have a projector of its own.

    Examples
    --------
    Pretrain on properties and invariance together::

        learn = ssl.property_learner(dls, "resnet10t", cbs=ssl.Invariance())
        learn.fit_one_cycle(12, 3e-3)
    """

    def __init__(self, weight=0.02, *, seed=0):
        self.weight, self.seed = weight, seed

    def before_fit(self):
        if hook := self.__dict__.pop("hook", None):  # left by a fit that was interrupted
            hook.remove()
        if num_distrib() > 1:
            raise ValueError("Invariance trains its projector in one process: pretrain without it across processes")
        with seeded(self.seed):
            d = self.learn.model[0].num_features
            self.projector = nn.Sequential(
                nn.Linear(d, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH)
            ).to(self.dls.device)
        self.rng = random.Random(self.seed)
        # The projector serves training alone: an optimiser of its own keeps it out of the model and its files.
        self.projector_opt = torch.optim.AdamW(self.projector.parameters())
        self.hook = self.learn.model[0].register_forward_hook(self._keep)

    def _keep(self, module, inputs, features):
        self.seen = features.float()

    def after_loss(self):
        if not self.training:
            return
        one = self.seen
        other = self.learn.model.features(distort(self.x, self.rng))
        projected = [self.projector(view) for view in (one, other)]
        self.learn.loss_grad = self.learn.loss_grad + self.weight * vicreg(*projected)

    def before_step(self):
        self.projector_opt.param_groups[0]["lr"] = self.opt.hypers[-1]["lr"]
        self.projector_opt.step()
        self.projector_opt.zero_grad()

    def after_fit(self):
        self.hook.remove()
        del self.projector, self.projector_opt, self.seen
