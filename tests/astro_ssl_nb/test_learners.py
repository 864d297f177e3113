import random

import numpy as np
import pytest
import torch
from astropy.table import Table
from fastai.learner import Learner
from safetensors.torch import load_file, save_file

import astro_ssl_nb as ssl
from astro_ssl_nb.augmentations import turn_and_shift
from astro_ssl_nb.backbones import read_card
from astro_ssl_nb.learners import predict_properties


def test_a_property_learner_learns_to_measure(learn, parts):
    test = parts[2]
    truth = ssl.property_values(test.catalogue, ssl.MAGNITUDES)
    error = np.nanmean(np.abs(predict_properties(learn, test) - truth), axis=0)
    of_the_mean = np.nanmean(np.abs(truth - np.nanmean(truth, axis=0)), axis=0)
    assert (error < 0.4 * of_the_mean).all()


def test_metrics_are_in_magnitudes(learn):
    prediction, target = learn.get_preds()
    error = (prediction - target).abs().numpy() * learn.dls.target_std
    names = learn.recorder.metric_names
    assert names[3] == "modelMag_u MAE [mag]"
    np.testing.assert_allclose(learn.validate()[1:], np.nanmean(error, axis=0), rtol=1e-3)


def test_unknown_values_carry_no_gradient():
    prediction = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    loss = ssl.masked_l1(prediction, torch.tensor([[0.0, torch.nan], [torch.nan, torch.nan]]))
    loss.backward()
    assert loss.item() == 1.0
    assert prediction.grad.tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert ssl.masked_l1(prediction, torch.full((2, 2), torch.nan)).item() == 0


def test_it_is_a_fastai_learner(learn, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # the search for a learning rate keeps its files here
    assert isinstance(learn, Learner)
    found = learn.lr_find(num_it=8, show_plot=False)
    assert 0 < found.valley < 10
    learn.show_results(max_n=4)
    learn.dls.show_batch(max_n=4)
    x, y = learn.dls.one_batch()
    assert x.shape == (25, 3, 16, 16) and y.shape == (25, 5)


def test_export_says_what_to_call_instead_of_a_pickle(learn, tmp_path):
    dls = learn.dls
    with pytest.raises(RuntimeError, match="save_backbone"):
        learn.export(tmp_path / "learner.pkl")
    assert learn.dls is dls and not (tmp_path / "learner.pkl").exists()


def test_same_seed_same_weights_other_seed_other_weights(parts):
    def trained(seed):
        torch.manual_seed(np.random.randint(1 << 30))  # whatever went on before must not matter
        dls = ssl.CutoutDataLoaders.for_properties(*parts[:2], ssl.MAGNITUDES, bs=25, seed=seed)
        learn = ssl.property_learner(dls, "resnet10t")
        with learn.no_bar(), learn.no_logging():
            learn.fit(1)
        return learn.model[1][-1].weight.detach().clone()

    once = trained(0)
    assert torch.equal(once, trained(0))
    assert not torch.equal(once, trained(1))


def test_dropout_is_the_same_for_the_same_seed_and_leaves_the_generator_as_it_was(parts):
    def trained():
        learn = ssl.class_learner(ssl.CutoutDataLoaders.for_classes(parts[0][:32], parts[1][:8], bs=16), "resnet10t")
        before = torch.get_rng_state()
        with learn.no_bar(), learn.no_logging():
            learn.fit(1)
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(1)
        return learn.model[1][-1].weight.detach()

    assert torch.equal(trained(), trained())


def test_augmentation_keeps_every_pixel_inside_and_turns_all_ways():
    x = torch.arange(64.0).reshape(1, 1, 8, 8).repeat(4000, 1, 1, 1)
    out = turn_and_shift(x, random.Random(0))
    assert out.shape == x.shape
    # The centre of a turned, unshifted image is one of 8 arrangements of its four middle pixels.
    middles = {tuple(image[3:5, 3:5].ravel().tolist()) for image in out[:, 0]}
    original = x[0, 0, 3:5, 3:5]
    turned = [torch.rot90(m, k) for m in (original, original.T) for k in range(4)]
    assert {tuple(m.ravel().tolist()) for m in turned} <= middles
    assert torch.equal(turn_and_shift(x, random.Random(1)), turn_and_shift(x, random.Random(1)))
    assert not torch.equal(out, turn_and_shift(x, random.Random(1)))


def test_images_that_cannot_be_turned_are_refused():
    with pytest.raises(ValueError, match="48 x 32 pixels cannot be turned"):
        turn_and_shift(torch.zeros(2, 3, 32, 48), random.Random(0))


def test_a_backbone_comes_back_with_its_card(learn, backbone):
    network, card = ssl.load_backbone(backbone)
    for name, value in learn.model[0].state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value)
    assert card["arch"] == "resnet10t" and card["stretch"] == learn.dls.stretch
    assert card["properties"] == [f"modelMag_{band}" for band in "ugriz"]
    assert card["pixel_scale"] == 0.396 and card["metrics"] == {"mae": 0.1}
    assert card["data_sha256"] == learn.dls.train.cutouts.checksum()


def test_a_wrong_backbone_is_refused(backbone, parts, tmp_path):
    train, valid, _ = parts
    dls = ssl.CutoutDataLoaders.for_classes(train, valid)
    with pytest.raises(ValueError, match="holds a resnet10t, not a resnet18"):
        ssl.class_learner(dls, "resnet18", weights=backbone)
    five = ssl.CutoutDataLoaders.for_classes(train, valid, stretch="bands")
    with pytest.raises(ValueError, match=r"takes 3 channels by stretch='rgb', the data give 5"):
        ssl.class_learner(five, weights=backbone)
    with pytest.raises(FileNotFoundError, match="no backbone at"):
        ssl.embed(tmp_path / "none.safetensors", valid)
    (tmp_path / "broken.safetensors").write_bytes(backbone.read_bytes()[:1000])
    torch.save({"weight": torch.zeros(2)}, tmp_path / "pickle.safetensors")
    save_file(load_file(backbone), tmp_path / "bare.safetensors")
    for name in ("broken", "pickle", "bare"):
        with pytest.raises(ValueError, match="not a whole backbone written by save_backbone"):
            read_card(tmp_path / f"{name}.safetensors")


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


def test_another_pixel_scale_is_refused(backbone, parts):
    coarse = ssl.CutoutSet.from_arrays(parts[0].images, parts[0].catalogue, pixel_scale=0.8)
    with pytest.raises(ValueError, match=r"pixels of 0.396 arcsec, these cutouts have 0.8: .* 0.49 times as large"):
        ssl.embed(backbone, coarse)
    with pytest.raises(ValueError, match="Resample"):
        ssl.class_learner(ssl.CutoutDataLoaders.for_classes(coarse, coarse), weights=backbone)


def test_parts_with_bands_in_another_order_are_converted_and_other_parts_refused(learn, backbone, parts):
    test = parts[2][:20]
    turned = ssl.CutoutSet.from_arrays(test.images[:, ::-1], test.catalogue, bands="zirgu")
    with learn.no_bar():
        np.testing.assert_array_equal(predict_properties(learn, turned), predict_properties(learn, test))
    np.testing.assert_array_equal(
        ssl.saliency(learn, turned[:2], "modelMag_r", steps=2), ssl.saliency(learn, test[:2], "modelMag_r", steps=2)
    )
    dls = ssl.CutoutDataLoaders.for_classes(test, turned, stretch="bands", bs=4)
    np.testing.assert_array_equal(dls.valid.one_batch()[0], dls.test_dl(test, bs=8).one_batch()[0])
    np.testing.assert_array_equal(
        ssl.embed(None, turned, arch="resnet10t", stretch=dls.stretch),
        ssl.embed(None, test, arch="resnet10t", stretch=dls.stretch),
    )
    few = ssl.CutoutSet.from_arrays(test.images[:, :2], test.catalogue, bands="ug")
    coarse = ssl.CutoutSet.from_arrays(test.images, test.catalogue, pixel_scale=0.8)
    picture = ssl.CutoutSet.from_arrays(test.images.astype(np.uint8)[:, :3], test.catalogue, bands="irg")
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


def test_what_is_not_finite_stops_with_the_rows(learn, backbone, parts, tmp_path, monkeypatch):
    images = parts[2].images[:8].copy()
    images[[2, 5], 2, 3, 3] = np.nan
    holed = ssl.CutoutSet.from_arrays(images, parts[2].catalogue[:8])
    with pytest.raises(ValueError, match=r"2 of 8 cutouts.*rows \[2, 5\] first.*`nonfinite_rows`"):
        ssl.embed(None, holed, arch="resnet10t")
    with pytest.raises(ValueError, match=r"2 of 8 cutouts are not finite \(rows \[2, 5\].*neither are their pixels"):
        ssl.embed(backbone, holed)
    spoilt = ssl.property_learner(learn.dls, "resnet10t")
    with torch.no_grad():
        next(spoilt.model[0].parameters()).fill_(np.nan)
    with pytest.raises(ValueError, match="tensors of the backbone are not finite"):
        ssl.save_backbone(spoilt, tmp_path / "spoilt.safetensors")
    assert not list(tmp_path.iterdir())
    with (
        spoilt.no_bar(),
        spoilt.no_logging(),
        pytest.raises(FloatingPointError, match="the loss is nan after step 1: all"),
    ):
        spoilt.fit(1)
    monkeypatch.chdir(tmp_path)
    with spoilt.no_bar(), spoilt.no_logging():
        spoilt.lr_find(num_it=6, suggest_funcs=None, show_plot=False)  # which goes on until the loss explodes


def test_an_interrupted_forward_pass_leaves_autocast_off(parts, monkeypatch):
    from astro_ssl_nb import precision

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


def test_numbers_of_numpy_go_into_the_card(learn, tmp_path):
    path = ssl.save_backbone(learn, tmp_path / "b.safetensors", mae=np.float32(0.5), each=np.arange(2))
    assert read_card(path)["metrics"] == {"mae": 0.5, "each": [0, 1]}


def test_the_architecture_is_that_of_the_weights(learn, backbone):
    again = ssl.property_learner(learn.dls, weights=backbone)
    assert again.arch == "resnet10t" and not next(again.model[0].parameters()).requires_grad


def test_error_bars_are_learned_and_honest(parts):
    train, valid, test = parts
    dls = ssl.CutoutDataLoaders.for_properties(train, valid, ssl.MAGNITUDES, bs=25)
    learn = ssl.property_learner(dls, "resnet10t", uncertainty=True)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(20, 5e-3)
    values, scale = predict_properties(learn, test, uncertainty=True)
    error = np.abs(values - ssl.property_values(test.catalogue, ssl.MAGNITUDES))
    assert values.shape == scale.shape == (len(test), 5) and (scale > 0).all()
    assert np.nanmean(error) < 0.5
    assert 0.3 < np.nanmean(error) / scale.mean() < 3
    np.testing.assert_array_equal(values, predict_properties(learn, test))


def test_a_network_without_error_bars_says_so(learn, parts):
    with pytest.raises(ValueError, match="uncertainty=True"):
        predict_properties(learn, parts[2], uncertainty=True)


def test_invariance_brings_two_views_together(parts):
    from astro_ssl_nb.augmentations import distort

    train, valid, test = parts

    def spread(callbacks):
        dls = ssl.CutoutDataLoaders.for_properties(train, valid, ssl.MAGNITUDES, bs=25)
        learn = ssl.property_learner(dls, "resnet10t", metrics=[], cbs=callbacks)
        with learn.no_bar(), learn.no_logging():
            learn.fit_one_cycle(6, 3e-3)
        x = dls.stretch(torch.from_numpy(test.images))
        with torch.inference_mode():
            one, other = (learn.model[0].eval()(view) for view in (x, distort(x, random.Random(0))))
        return float((one - other).square().mean() / one.var(0).mean())

    assert spread([ssl.Invariance(weight=0.2)]) < 0.8 * spread([])


def test_stages_go_from_the_stem_to_the_head(learn):
    groups = learn.splitter(learn.model)
    assert sum(len(group) for group in groups) == len(list(learn.model.parameters())) and len(groups) > 3
    assert groups[0][0] is next(learn.model[0].parameters()) and groups[-1][-1] is learn.model[1][-1].bias


@pytest.mark.parametrize("arch", ["resnet18", "vgg16", "convnext_atto"])
@pytest.mark.parametrize("side", [32, 128])
def test_any_architecture_takes_any_size(arch, side, parts):
    images = np.resize(parts[0].images, (4, 5, side, side))
    cutouts = ssl.CutoutSet.from_arrays(images, parts[0].catalogue[:4])
    features = ssl.embed(None, cutouts, arch=arch)
    assert features.shape[0] == 4 and np.isfinite(features).all()


@pytest.mark.parametrize("arch", ["vgg16", "mobilenetv3_small_100"])  # which go on after pooling
def test_networks_of_every_kind_learn_and_are_kept(arch, parts, tmp_path):
    few = ssl.CutoutSet.from_arrays(np.resize(parts[0].images, (8, 5, 32, 32)), parts[0].catalogue[:8])
    dls = ssl.CutoutDataLoaders.for_properties(few, few, ssl.MAGNITUDES, bs=4)
    learn = ssl.property_learner(dls, arch, metrics=[])
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-4)
    path = ssl.save_backbone(learn, tmp_path / "kept.safetensors")
    assert path.stat().st_size < 80e6
    assert ssl.embed(path, few).shape == (8, learn.model[0].num_features)


def test_unknown_architecture_is_refused():
    with pytest.raises(ValueError, match="timm has no architecture 'resnet18x'; near it: resnet18"):
        ssl.create_backbone("resnet18x")


def test_imagenet_weights_come_without_a_network(parts):
    import timm

    network = ssl.create_backbone("tf_efficientnet_lite0", weights="imagenet")
    start = timm.create_model("tf_efficientnet_lite0").conv_stem.weight
    assert not torch.equal(network.conv_stem.weight, start)
    # The batch norms of trained weights carry the statistics of photographs.
    assert network.bn1.running_var.std() > 0
    assert ssl.embed("imagenet", parts[2]).shape == (len(parts[2]), 1280)


def test_a_backbone_that_went_on_from_imagenet_is_saved_and_sees_small_cutouts_as_before(parts, tmp_path):
    train, valid, test = parts
    dls = ssl.CutoutDataLoaders.for_properties(train, valid, ssl.MAGNITUDES, stretch="rgb", bs=25)
    learn = ssl.property_learner(dls, "tf_efficientnet_lite0", weights="imagenet")
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-3)
    small = dls.stretch(torch.as_tensor(test[:4].images, dtype=torch.float32))  # 32 pixels, where ImageNet has 64
    learn.model.eval()
    with torch.inference_mode():
        before = learn.model[0](small)
        after = ssl.load_backbone(ssl.save_backbone(learn, tmp_path / "more.safetensors"))[0].eval()(small)
    # the two are laid out differently in memory, so convolutions may add in another order
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)


def test_class_learner_beats_chance_and_predicts_names(parts, backbone):
    train, valid, test = parts
    dls = ssl.CutoutDataLoaders.for_classes(train, valid, bs=25)
    learn = ssl.class_learner(dls, weights=backbone)
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(3)
    scores, _ = learn.get_preds(dl=dls.test_dl(test))
    torch.testing.assert_close(scores.sum(1), torch.ones(len(test)))
    assert np.mean(np.array(dls.vocab)[scores.argmax(1)] == test.labels("class")) > 0.85
    learn.show_results(max_n=4)


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


def test_a_property_that_nobody_measured_is_named(parts):
    train, valid, _ = parts
    table = Table({"petroR50_r": np.full(20, -9999.0)})
    empty = ssl.CutoutSet.from_arrays(np.zeros((20, 5, 16, 16)), table)
    with pytest.raises(ValueError, match="'log petroR50_r' is known for 0 of 20"):
        ssl.CutoutDataLoaders.for_properties(empty, empty, ssl.SIZES[:1])
