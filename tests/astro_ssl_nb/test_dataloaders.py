import numpy as np
import pytest
import torch
from astropy.table import Table

import astro_ssl_nb as ssl
from astro_ssl_nb.learners import predict_properties


def test_the_input_of_a_backbone_is_stretched_as_in_its_training(learn, backbone, parts):
    bright = ssl.CutoutSet.from_arrays(100 * parts[0].images, parts[0].catalogue)
    dls = ssl.CutoutDataLoaders.for_classes(bright, bright)
    assert dls.stretch != learn.dls.stretch
    own = dls.stretch
    first, plain = ssl.class_learner(dls, weights=backbone), ssl.class_learner(dls, "resnet10t")
    loaders = first.dls
    assert loaders.stretch == loaders.train.stretch == loaders.valid.stretch == learn.dls.stretch
    assert plain.dls.stretch == dls.stretch == dls.train.stretch == own, "learners do not change each other's input"
    with first.no_bar():
        said = [first.get_preds(dl=one.test_dl(bright[:9]))[0] for one in (dls, loaders)]
    assert torch.equal(*said), "a learner looks at any loader through its own stretch"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="asks for a GPU")
def test_a_gpu_that_keeps_the_input_gives_the_batches_of_one_that_has_no_room(parts, monkeypatch):
    def batches():
        dls = ssl.CutoutDataLoaders.for_properties(parts[0], parts[1], ssl.MAGNITUDES, bs=16)
        return [list(loader) for loader in (dls.train, dls.valid, dls.test_dl(parts[1]))]

    kept = batches()
    monkeypatch.setattr("astro_ssl_nb.batches.GPU_SHARE", 0)
    for ours, theirs in zip(kept, batches(), strict=True):
        assert len(ours) > 1
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-6, equal_nan=True)


def test_another_pixel_scale_is_refused(backbone, parts):
    coarse = ssl.CutoutSet.from_arrays(parts[0].images, parts[0].catalogue, pixel_scale=0.8)
    with pytest.raises(ValueError, match=r"pixels of 0.396 arcsec, these cutouts have 0.8: .* 0.49 times as large"):
        ssl.embed(backbone, coarse)
    fine = ssl.CutoutSet.from_arrays(parts[0].images, parts[0].catalogue, pixel_scale=0.198)
    with pytest.raises(ValueError, match="would look 2 times as large"):
        ssl.embed(backbone, fine)
    with pytest.raises(ValueError, match="Resample"):
        ssl.class_learner(ssl.CutoutDataLoaders.for_classes(coarse, coarse), weights=backbone)


def test_parts_with_bands_in_another_order_are_converted_and_other_parts_refused(learn, backbone, parts):
    test = parts[2][:20]
    turned = ssl.CutoutSet.from_arrays(test.images[:, ::-1], test.catalogue, bands="zirgu")
    with learn.no_bar():
        np.testing.assert_array_equal(predict_properties(learn, turned), predict_properties(learn, test))
    turned_map, test_map = (ssl.saliency(learn, part[:2], "modelMag_r", steps=2) for part in (turned, test))
    np.testing.assert_allclose(turned_map, test_map, atol=1e-7)  # a GPU adds gradients in whatever order
    dls = ssl.CutoutDataLoaders.for_classes(test, turned, stretch="bands", bs=4)
    assert torch.equal(dls.valid.one_batch()[0], dls.test_dl(test, bs=8).one_batch()[0])
    np.testing.assert_array_equal(
        ssl.embed(None, turned, arch="resnet10t", stretch=dls.stretch),
        ssl.embed(None, test, arch="resnet10t", stretch=dls.stretch),
    )
    few = ssl.CutoutSet.from_arrays(test.images[:, :2], test.catalogue, bands="ug")
    coarse = ssl.CutoutSet.from_arrays(test.images, test.catalogue, pixel_scale=0.8)
    picture = ssl.CutoutSet.from_arrays(test.images.astype(np.uint8)[:, :3], test.catalogue, bands="RGB")
    refused = {"trained on the bands i r g, these": few, "pixels of 0.396": coarse, "these cutouts are uint8": picture}
    for match, part in refused.items():
        with pytest.raises(ValueError, match=match):
            ssl.CutoutDataLoaders.for_properties(parts[0], part, ssl.MAGNITUDES)
        with pytest.raises(ValueError, match=match):
            predict_properties(learn, part)
        with pytest.raises(ValueError, match=match):
            ssl.saliency(learn, part, "modelMag_r")
        with pytest.raises(ValueError, match=match):
            ssl.few_shot_probabilities(parts[0], part, weights=backbone, size=3)


def test_properties_that_teach_nothing_are_refused(parts):
    train, valid, _ = (part.with_columns(petroR50_r=np.full(len(part), 19.3, np.float32)) for part in parts)
    with pytest.raises(ValueError, match=r"'log petroR50_r' has one value in all training cutouts"):
        ssl.CutoutDataLoaders.for_properties(train, valid, ssl.SIZES[:1])
    with pytest.raises(ValueError, match="no property to learn"):
        ssl.CutoutDataLoaders.for_properties(train, valid, [])


def test_loaders_need_the_right_targets(parts, learn):
    train, valid, _ = parts
    classes = ssl.CutoutDataLoaders.for_classes(train, valid)
    with pytest.raises(ValueError, match="for_properties"):
        ssl.property_learner(classes)
    with pytest.raises(ValueError, match="for_classes"):
        ssl.class_learner(learn.dls)
    with pytest.raises(KeyError, match="needs the column"):
        ssl.CutoutDataLoaders.for_properties(train, valid, ssl.REDSHIFT)
    relabelled = valid[:3]
    relabelled.catalogue["class"] = ["NARROW", "WIDE", "STRANGE"]
    with pytest.raises(ValueError, match="STRANGE"):
        ssl.CutoutDataLoaders.for_classes(train, relabelled)


def test_a_new_loader_has_the_seed_it_was_given_and_the_cutouts_of_the_old(learn):
    old = learn.dls.train
    new = old.new(seed=5)
    assert (new.seed, new.bs, new.shuffle, new.cutouts) == (5, old.bs, True, old.cutouts)
    assert old.seed == old.new().seed == 0
    with pytest.raises(TypeError, match="test_dl"):
        old.new(dataset=[1])


def test_a_property_that_nobody_measured_is_named(parts):
    train, valid, _ = parts
    table = Table({"petroR50_r": np.full(20, -9999.0)})
    empty = ssl.CutoutSet.from_arrays(np.zeros((20, 5, 16, 16)), table)
    with pytest.raises(ValueError, match="'log petroR50_r' is known for 0 of 20"):
        ssl.CutoutDataLoaders.for_properties(empty, empty, ssl.SIZES[:1])


def test_one_class_is_nothing_to_learn(blobs):
    narrow = blobs[blobs.catalogue["class"] == "NARROW"]
    with pytest.raises(ValueError, match=r"all 150 training objects are of class \['NARROW'\]"):
        ssl.CutoutDataLoaders.for_classes(narrow, blobs)


def test_a_property_may_be_in_any_unit(parts):
    for scale, offset in ((1e-15, 0), (1, 2459000)):  # erg/s/cm2, and Julian dates of some nights
        train, valid, _ = (part.with_columns(x=offset + scale * np.linspace(1, 9, len(part))) for part in parts)
        dls = ssl.CutoutDataLoaders.for_properties(train, valid, [ssl.Property("x", ("x",), "", 0, 1e9)])
        assert dls.target_std == pytest.approx(scale * 8 / np.sqrt(12), rel=0.05)


def test_a_column_of_several_numbers_a_row_is_no_property(parts):
    vector = parts[0].with_columns(mag=np.ones((len(parts[0]), 5)))
    with pytest.raises(ValueError, match=r"property 'm': column mag holds \(5,\) numbers a row, and not one"):
        ssl.CutoutDataLoaders.for_properties(vector, vector, [ssl.Property("m", ("mag",), "mag", 0, 30)])
