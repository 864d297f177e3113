import pytest
import torch

import astro_ssl_nb as ssl
from astro_ssl_nb.seeds import seeded


def test_generators_are_given_back_after_an_error_too():
    before = torch.get_rng_state()
    with pytest.raises(KeyError), seeded(3):
        torch.rand(5)
        raise KeyError
    assert torch.equal(torch.get_rng_state(), before)


def test_a_fit_does_not_depend_on_what_looked_at_its_loaders(parts):
    def trained(look):
        dls = ssl.CutoutDataLoaders.for_classes(parts[0][:48], parts[1][:8], bs=16)
        if look:
            dls.show_batch(max_n=1)
            next(iter(dls.train))
        learn = ssl.class_learner(dls, "resnet10t", metrics=[])
        with learn.no_bar(), learn.no_logging():
            learn.fit(1)
        return learn.model[1][-1].weight.detach()

    assert torch.equal(trained(look=True), trained(look=False))
