import numpy as np
import pytest
import torch
from astropy.table import Table
from safetensors.torch import load_file, save_file

import astro_ssl_nb as ssl
from astro_ssl_nb.backbones import read_card


def test_a_backbone_comes_back_with_its_card(learn, backbone):
    network, card = ssl.load_backbone(backbone)
    for name, value in learn.model[0].state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value.cpu())
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


def test_numbers_of_numpy_go_into_the_card(learn, tmp_path):
    path = ssl.save_backbone(learn, tmp_path / "b.safetensors", mae=np.float32(0.5), each=np.arange(2))
    assert read_card(path)["metrics"] == {"mae": 0.5, "each": [0, 1]}


@pytest.mark.parametrize("arch", ["resnet18", "vgg16", "convnext_atto"])
@pytest.mark.parametrize("side", [32, 128])
def test_any_architecture_takes_any_size(arch, side, parts):
    images = np.resize(parts[0].images, (4, 5, side, side))
    cutouts = ssl.CutoutSet.from_arrays(images, parts[0].catalogue[:4])
    features = ssl.embed(None, cutouts, arch=arch)
    assert features.shape == (4, ssl.create_backbone(arch).num_features) and np.isfinite(features).all()


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


@pytest.mark.parametrize("weights", ["imagnet", "runs/demo/backbone.safetensors"])
def test_weights_that_are_none_do_not_become_random_ones(weights):
    with pytest.raises(ValueError, match="give None or 'imagenet'; `load_backbone` reads a saved backbone"):
        ssl.create_backbone("resnet10t", weights=weights)


def test_imagenet_weights_come_without_a_network(parts):
    import timm

    network = ssl.create_backbone("tf_efficientnet_lite0", weights="imagenet")
    start = timm.create_model("tf_efficientnet_lite0").conv_stem.weight
    assert not torch.equal(network.conv_stem.weight, start)
    # The batch norms of trained weights carry the statistics of photographs.
    assert network.bn1.running_var.std() > 0
    assert ssl.embed("imagenet", parts[2]).shape == (len(parts[2]), 1280)
    sides = []
    network.register_forward_pre_hook(lambda _, images: sides.append(tuple(images[0].shape[-2:])))  # after ours
    network(torch.zeros(1, 3, 16, 32))
    assert sides == [(64, 128)], "an image that is no square stays as wide"


def test_pictures_of_two_sets_are_alike_under_one_stretch(backbone, blobs):
    pictures = (255 * ssl.figures.rgb(blobs.images, blobs.bands)).astype(np.uint8).transpose(0, 3, 1, 2)
    whole = ssl.CutoutSet.from_arrays(pictures, blobs.catalogue, bands="RGB")
    dark = whole[np.argsort(pictures.mean((1, 2, 3)))[:40]]
    by_themselves = ssl.embed(backbone, dark)
    as_the_others = ssl.embed(backbone, dark, stretch=ssl.Stretch.fit(whole))
    of_them = ssl.embed(backbone, whole, stretch=ssl.Stretch.fit(whole))
    assert not np.allclose(by_themselves, as_the_others, atol=0.1)
    rows = [whole.catalogue["objid"].tolist().index(objid) for objid in dark.catalogue["objid"]]
    np.testing.assert_allclose(as_the_others, of_them[rows], rtol=1e-3, atol=1e-3)


def test_imagenet_sees_pictures_scaled_as_its_photographs_were(parts):
    few, _, test = parts
    network = ssl.create_backbone("tf_efficientnet_lite0", weights="imagenet").eval()
    pictures = torch.from_numpy(ssl.figures.rgb(test.images, test.bands).transpose(0, 3, 1, 2).copy()).float()
    with torch.inference_mode():
        seen = network(2 * pictures - 1).numpy()
    np.testing.assert_allclose(ssl.embed("imagenet", test), seen, atol=1e-4)
    dls = ssl.CutoutDataLoaders.for_classes(few, test)
    learn = ssl.class_learner(dls, weights="imagenet")
    assert learn.dls.stretch.mean == learn.dls.stretch.std == (0.5, 0.5, 0.5) != dls.stretch.mean


def test_a_backbone_that_went_on_from_imagenet_sees_the_pictures_of_every_set_at_one_scale(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (12, 3, 16, 16)).astype(np.uint8)
    bright, dark = (
        ssl.CutoutSet.from_arrays(values, Table({"objid": np.arange(12), "class": ["A", "B"] * 6}), bands="RGB")
        for values in (pictures, pictures // 4)
    )
    learn = ssl.few_shot_learner(bright, weights="imagenet")
    path = ssl.save_backbone(learn, tmp_path / "on.safetensors")
    with torch.inference_mode():
        seen = ssl.load_backbone(path)[0].eval()(torch.from_numpy(dark.images / np.float32(127.5) - 1)).numpy()
    for stretch in ("rgb", ssl.Stretch.fit(bright)):
        np.testing.assert_allclose(ssl.embed(path, dark, stretch=stretch), seen, rtol=1e-3, atol=1e-3)
    dls = ssl.CutoutDataLoaders.for_classes(dark, dark)
    assert ssl.class_learner(dls, weights=path).dls.stretch.mean == (0.5, 0.5, 0.5)


def test_imagenet_weights_for_five_bands_are_those_for_three_in_turn(parts):
    three, five = (ssl.create_backbone("tf_efficientnet_lite0", n, weights="imagenet").conv_stem.weight for n in (3, 5))
    torch.testing.assert_close(five, 3 / 5 * three[:, [0, 1, 2, 0, 1]])
    train, _, test = parts
    options = dict(arms={"imagenet": "imagenet"}, probes=("linear",), sizes=(5,), seeds=1)
    colours, bands = (ssl.label_curve(train[:60], test, **options, **more) for more in ({}, {"stretch": "bands"}))
    assert len(colours) == len(bands) == 1 and colours.brier.item() != bands.brier.item()


def test_a_backbone_that_went_on_from_imagenet_is_saved_and_sees_small_cutouts_as_before(parts, tmp_path):
    train, valid, test = parts
    dls = ssl.CutoutDataLoaders.for_properties(train, valid, ssl.MAGNITUDES, stretch="rgb", bs=25)
    learn = ssl.property_learner(dls, "tf_efficientnet_lite0", weights="imagenet")
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-3)
    small = dls.stretch(torch.as_tensor(test[:4].images, dtype=torch.float32))  # 16 pixels, which it enlarges
    learn.model.cpu().eval()
    with torch.inference_mode():
        before = learn.model[0](small)
        after = ssl.load_backbone(ssl.save_backbone(learn, tmp_path / "more.safetensors"))[0].eval()(small)
    # the two are laid out differently in memory, so convolutions may add in another order
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)
