import pytest
import torch

import astro_ssl_nb as ssl
from astro_ssl_nb import precision


def test_an_interrupted_forward_pass_leaves_autocast_off(parts, monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    learn = ssl.class_learner(ssl.CutoutDataLoaders.for_classes(parts[0], parts[1], bs=25, device="cpu"), "resnet10t")
    seen = []

    def interrupt(*_):
        seen.append(torch.is_autocast_enabled("cpu"))
        raise KeyboardInterrupt

    learn.model[1].register_forward_pre_hook(interrupt)
    with learn.no_bar(), learn.no_logging(), pytest.raises(KeyboardInterrupt):
        learn.fit(1)
    assert seen == [True] and not torch.is_autocast_enabled("cpu")


def test_the_autocast_of_a_user_reaches_the_layers():
    layer = torch.nn.Linear(4, 2)
    model, computed = precision.MixedPrecision(layer), []
    layer.register_forward_hook(lambda *given: computed.append(given[-1].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        given = [model(torch.ones(3, 4)), model.features(torch.ones(3, 4))]
    given.append(model(torch.ones(3, 4)))
    assert computed == [torch.bfloat16, torch.bfloat16, torch.float32]
    assert {output.dtype for output in given} == {torch.float32}
