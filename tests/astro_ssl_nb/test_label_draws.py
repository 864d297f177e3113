import warnings

import numpy as np
import pytest

import astro_ssl_nb as ssl

OPTIONS = {"arms": {"sizes": ssl.SIZES[:2]}, "probes": ("linear",)}


def test_seeds_that_would_all_draw_the_same_are_refused(parts):
    train, _, test = parts
    labels = train.labels("class")
    ten_each = np.sort(np.concatenate([np.flatnonzero(labels == name)[:10] for name in np.unique(labels)]))
    with pytest.raises(ValueError, match="all 3 seeds would draw 10 of the 10 training objects of class 'NARROW'"):
        ssl.label_curve(train[ten_each], test, sizes=(5, 10), seeds=3, **OPTIONS)
    with pytest.warns(UserWarning, match="each seed draws 9 of the 10 training objects"):
        ssl.label_curve(train[ten_each], test, sizes=(9,), seeds=2, **OPTIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(ssl.label_curve(train[ten_each], test, sizes=(5,), seeds=2, **OPTIONS)) == 2
        assert len(ssl.label_curve(train[ten_each], test, sizes=(10,), seeds=1, **OPTIONS)) == 1


def test_arms_from_nothing_are_like_the_saved_backbones(parts, backbone, tmp_path):
    train, valid, test = parts
    options = {"probes": ("linear",), "sizes": (3,), "seeds": 1}
    named = ssl.label_curve(train, test, arms={"scratch": None}, arch="resnet10t", stretch="rgb", **options)
    both = ssl.label_curve(train, test, arms={"pretext": backbone, "scratch": None}, **options)
    assert both[both.arm == "scratch"].brier.item() == named.brier.item()
    dls = ssl.CutoutDataLoaders.for_properties(train, valid, ssl.MAGNITUDES, stretch="bands")
    other = ssl.save_backbone(ssl.property_learner(dls, "resnet18"), tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"different arch \(resnet10t, resnet18\): give one"):
        ssl.label_curve(train, test, arms={"pretext": backbone, "other": other, "scratch": None}, **options)
    with pytest.raises(ValueError, match=r"different stretch \(bands, rgb\): give one"):
        ssl.label_curve(
            train, test, arms={"pretext": backbone, "other": other, "scratch": None}, arch="resnet10t", **options
        )
