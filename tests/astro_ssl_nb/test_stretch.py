import numpy as np
import pytest
import torch
from astropy.table import Table
from astropy.visualization import make_lupton_rgb

import astro_ssl_nb as ssl


def test_lupton_rgb_is_astropys():
    flux = np.random.default_rng(0).gamma(0.3, 2, (4, 3, 40, 40)).astype("float32") - 0.05
    ours = ssl.lupton_rgb(torch.from_numpy(flux)).numpy() * 255
    for mine, planes in zip(ours, flux, strict=True):
        theirs = make_lupton_rgb(*planes, stretch=0.5, Q=10).transpose(2, 0, 1)
        assert np.abs(mine - theirs).max() <= 1.01  # astropy rounds to whole numbers


def test_rgb_shows_i_r_g_whatever_the_order_of_the_bands(blobs):
    images = blobs.images[:3].copy()
    images[:, 3] *= 3
    swapped = ssl.CutoutSet.from_arrays(images[:, ::-1], blobs.catalogue[:3], bands="zirgu")
    straight = ssl.CutoutSet.from_arrays(images, blobs.catalogue[:3], bands="ugriz")
    x, y = (ssl.Stretch.fit(one)(torch.from_numpy(np.array(one.images))) for one in (straight, swapped))
    torch.testing.assert_close(x, y)


def test_bands_are_scaled_by_their_own_noise():
    rng = np.random.default_rng(0)
    sigma = np.array([0.01, 0.1])
    images = rng.normal(0, 1, (50, 2, 16, 16)) * sigma[:, None, None]
    stretch = ssl.Stretch.fit(ssl.CutoutSet.from_arrays(images, Table({"objid": np.arange(50)}), bands="gr"), "bands")
    np.testing.assert_allclose(stretch.noise, sigma, rtol=0.05)


@pytest.mark.parametrize("kind", ["rgb", "bands"])
def test_network_input_is_standardised(blobs, kind):
    stretch = ssl.Stretch.fit(blobs, kind)
    x = stretch(torch.from_numpy(np.array(blobs.images)))
    assert x.shape[1] == stretch.n_channels == {"rgb": 3, "bands": 5}[kind]
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(x.shape[1]), atol=1e-3, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3)), torch.ones(x.shape[1]), atol=1e-3, rtol=0)


def test_what_cannot_be_stretched_is_refused(blobs):
    with pytest.raises(ValueError, match="unknown stretch 'log'"):
        ssl.Stretch.fit(blobs, "log")
    two = ssl.CutoutSet.from_arrays(blobs.images[:, :2], blobs.catalogue, bands="ug")
    with pytest.raises(ValueError, match="needs the bands i, r, g; this set has u g"):
        ssl.Stretch.fit(two, "rgb")


def test_of_large_cutouts_fewer_are_looked_at(blobs, monkeypatch):
    looked, read = [], ssl.CutoutSet.read
    monkeypatch.setattr(ssl.CutoutSet, "read", lambda self, rows: looked.append(len(rows)) or read(self, rows))
    ssl.Stretch.fit(blobs)
    for numbers in (60 * 5 * 16 * 16, 1):
        monkeypatch.setattr("astro_ssl_nb.stretch.NUMBERS", numbers)
        ssl.Stretch.fit(blobs)
    assert looked == [300, 60, 50]


@pytest.mark.parametrize("kind", ["rgb", "bands"])
def test_one_pixel_that_is_not_finite_is_found_among_many(blobs, kind):
    images = blobs.images.copy()
    images[7, 2, 3, 3] = np.nan
    with pytest.raises(ValueError, match=r"^1 of 300 cutouts .*rows \[7\] first"):
        ssl.Stretch.fit(ssl.CutoutSet.from_arrays(images, blobs.catalogue), kind)


def test_fluxes_keep_the_constants_of_training_and_pictures_do_not(blobs):
    stretch = ssl.Stretch.fit(blobs)
    assert stretch.refit(blobs[:20]).mean == stretch.mean
    picture = ssl.CutoutSet.from_arrays(
        np.random.default_rng(0).integers(0, 99, (9, 3, 16, 16)).astype(np.uint8), blobs.catalogue[:9], bands="RGB"
    )
    assert stretch.refit(picture).mean != stretch.mean
    for bands in ("ugriz", "gri"):  # of three, green would lie where the backbone knows r
        planes = ["ugriz".index(band) for band in bands]
        flux = ssl.CutoutSet.from_arrays(blobs.images[:, planes], blobs.catalogue, bands=bands)
        with pytest.raises(ValueError, match=rf"trained on {len(bands)} channels .*this set gives 3 \(R G B\)"):
            ssl.Stretch.fit(flux, "bands").refit(picture)
    own = ssl.Stretch.fit(picture, "bands")
    assert own.refit(picture[:5]).bands == tuple("RGB")


def test_three_other_bands_are_shown_from_red_to_blue():
    rng = np.random.default_rng(0)
    cutouts = ssl.CutoutSet.from_arrays(rng.normal(0, 1, (9, 3, 8, 8)), Table({"objid": np.arange(9)}), bands="grz")
    assert ssl.Stretch.fit(cutouts).bands == ("z", "r", "g")


def test_an_empty_set_has_no_stretch(blobs):
    with pytest.raises(ValueError, match="the set is empty"):
        ssl.embed(None, blobs[:0], arch="resnet10t")
