import random

import pytest
import torch
from fastai.callback.core import Callback

import astro_ssl_nb as ssl
from astro_ssl_nb.augmentations import distort


def test_invariance_brings_two_views_together(parts):
    train, valid, test = parts

    def spread(callbacks):
        dls = ssl.CutoutDataLoaders.for_properties(train, valid, ssl.MAGNITUDES, bs=25)
        learn = ssl.property_learner(dls, "resnet10t", metrics=[], cbs=callbacks)
        with learn.no_bar(), learn.no_logging():
            learn.fit_one_cycle(6, 3e-3)
        x = dls.stretch(torch.from_numpy(test.images).to(dls.device))
        with torch.inference_mode():
            one, other = (learn.model[0].eval()(view) for view in (x, distort(x, random.Random(0))))
        return float((one - other).square().mean() / one.var(0).mean())

    share = 0.9 if torch.cuda.is_available() else 0.8  # a GPU trains in bfloat16
    assert spread([ssl.Invariance(weight=0.2)]) < share * spread([])


def test_the_projector_learns_at_the_rate_of_the_head(parts):
    rates = []

    def keep(self):
        projector = self.learn.invariance.projector_opt
        rates.append((projector.param_groups[0]["lr"], self.opt.hypers[-1]["lr"]))

    dls = ssl.CutoutDataLoaders.for_properties(parts[0][:32], parts[1][:8], ssl.MAGNITUDES[1:3], bs=16)
    learn = ssl.property_learner(dls, "resnet10t", metrics=[], cbs=[ssl.Invariance(), Callback(after_step=keep)])
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(2, 3e-3)
    assert len({head for _, head in rates}) == 4 and all(projector == head for projector, head in rates)


def test_invariance_across_processes_is_refused(parts, monkeypatch):
    learn = ssl.property_learner(
        ssl.CutoutDataLoaders.for_properties(*parts[:2], ssl.MAGNITUDES, bs=25), "resnet10t", cbs=ssl.Invariance()
    )
    monkeypatch.setenv("WORLD_SIZE", "2")
    with learn.no_bar(), learn.no_logging(), pytest.raises(ValueError, match="in one process"):
        learn.fit(1)
