"""What must hold for any CutoutSet, stretch or draw of labels, tried on many that nobody thought of."""

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import astro_ssl_nb as ssl

few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
FLUX = st.floats(-1e6, 1e6, width=32)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8)


@st.composite
def cutout_sets(draw):
    """Sets of 1 to 12 cutouts with 1 to 4 bands, ids of any kind, and a column with gaps."""
    n, bands, side = draw(st.integers(1, 12)), draw(st.integers(1, 4)), draw(st.integers(1, 9))
    kind = draw(st.sampled_from([np.float32, np.uint8]))
    shape = (n, 3 if kind is np.uint8 else bands, side, side)
    images = draw(arrays.arrays(kind, shape, elements=FLUX if kind is np.float32 else None))
    ids = draw(
        st.one_of(
            arrays.arrays(np.uint64, n, unique=True),
            st.lists(NAMES, min_size=n, max_size=n, unique=True).map(lambda names: np.array(names, object).astype(str)),
        )
    )
    mask = draw(arrays.arrays(bool, n))
    table = Table({"objid": ids, "label": draw(st.lists(NAMES, min_size=n, max_size=n))})
    table["flux"] = MaskedColumn(draw(arrays.arrays(np.float64, n, elements=FLUX)), mask=mask, unit="nmgy")
    names = "RGB" if kind is np.uint8 else [f"b{i}" for i in range(shape[1])]
    return ssl.CutoutSet.from_arrays(images, table, bands=names, pixel_scale=0.4)


@few
@given(cutout_sets(), st.data())
def test_a_set_comes_back_from_disk_as_it_was(cutouts, data):
    rows = data.draw(arrays.arrays(np.int64, st.integers(1, 8), elements=st.integers(0, len(cutouts) - 1)))
    with tempfile.TemporaryDirectory() as parent:
        for one in (cutouts, cutouts[rows]):
            again = ssl.CutoutSet.open(one.save(Path(parent) / f"set{len(list(Path(parent).iterdir()))}"))
            assert again.images.dtype == one.images.dtype
            np.testing.assert_array_equal(again.images, one.images)
            for name in ("objid", "label"):
                assert list(again.catalogue[name]) == list(one.catalogue[name])
            for column in (np.ma.asarray(one.catalogue["flux"]), np.ma.asarray(again.catalogue["flux"])):
                np.testing.assert_array_equal(np.ma.getmaskarray(column), one.catalogue["flux"].mask)
                np.testing.assert_array_equal(column.compressed(), np.ma.asarray(one.catalogue["flux"]).compressed())
            assert again.checksum() == one.checksum() and again.bands == one.bands and again.pixel_scale == 0.4


@few
@given(
    ids=st.lists(st.integers(0, 30), min_size=12, max_size=60),
    fractions=st.sampled_from([(0.5, 0.5), (0.8, 0.1, 0.1), (0.25, 0.25, 0.25, 0.25), (1.0,)]),
    seed=st.integers(0, 2**31),
    spread=st.sampled_from([0.0, 0.001, 0.05, 5.0]),
    pole=st.booleans(),
)
def test_a_split_covers_all_and_parts_share_neither_object_nor_sky(ids, fractions, seed, spread, pole):
    rng = np.random.default_rng(seed)
    n = len(ids)
    place = rng.uniform(0, 1, (2, 31))[:, ids]
    ra, dec = 360 * place[0] if pole else (359.9 + spread * place[0]) % 360, (90 if pole else 10) - spread * place[1]
    table = Table({"objid": ids, "ra": ra, "dec": dec, "row": np.arange(n)})
    cutouts = ssl.CutoutSet.from_arrays(np.zeros((n, 1, 32, 32)), table, bands="r", pixel_scale=0.396)
    try:
        parts = cutouts.split(fractions, seed=seed)
    except ValueError as error:
        assert "too few" in str(error)
        assume(False)
    assert sorted(np.concatenate([part.catalogue["row"] for part in parts])) == list(range(n))
    again = cutouts.split(fractions, seed=seed)
    assert all(list(a.catalogue["row"]) == list(b.catalogue["row"]) for a, b in zip(parts, again, strict=True))
    places = [SkyCoord(part.catalogue["ra"], part.catalogue["dec"], unit="deg") for part in parts]
    side = 32 * 0.396 * u.arcsec  # nearer than a side, cutouts overlap whichever way they lie
    for i, one in enumerate(parts):
        for j in range(i):
            assert not set(one.catalogue["objid"]) & set(parts[j].catalogue["objid"])
            assert places[i][:, None].separation(places[j][None]).min() > side


@few
@given(arrays.arrays(np.float32, (6, 3, 8, 8), elements=FLUX), st.sampled_from(["rgb", "bands"]))
def test_network_input_is_finite_whatever_the_flux(flux, kind):
    cutouts = ssl.CutoutSet.from_arrays(flux, Table({"objid": np.arange(6)}), bands="gri")
    x = ssl.Stretch.fit(cutouts, kind)(torch.from_numpy(cutouts.images))
    assert x.shape == (6, 3, 8, 8) and x.isfinite().all()


@few
@given(arrays.arrays(np.float32, 32, elements=st.floats(0, 1e5, width=32)), st.floats(0.001, 10), st.floats(0.1, 30))
def test_brighter_pixels_stay_brighter(flux, stretch, Q):
    grey = torch.from_numpy(np.sort(flux)).reshape(1, 1, 1, 32).expand(1, 3, 1, 32)
    shown = ssl.lupton_rgb(grey, stretch, Q)
    assert shown.isfinite().all() and shown.min() >= 0 and shown.max() <= 1
    assert (shown.diff(dim=-1) >= -1e-6).all()
    bands = ssl.Stretch("bands", ("r",), (0,), (stretch,), (0.0,), (1.0,))
    assert (bands(grey[:, :1]).diff(dim=-1) >= 0).all()


@few
@given(
    counts=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    sizes=st.lists(st.integers(1, 20), min_size=2, max_size=4, unique=True).map(sorted),
    seed=st.integers(0, 2**31),
)
def test_label_subsets_are_balanced_and_nested(counts, sizes, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat([f"class {i}" for i in range(len(counts))], counts))
    possible = [size for size in sizes if size <= min(counts)]
    drawn = [ssl.labelled_subset(labels, size, seed=seed) for size in possible]
    for size, rows in zip(possible, drawn, strict=True):
        assert len(set(rows)) == len(rows) == size * len(counts)
        assert np.unique(labels[rows], return_counts=True)[1].tolist() == [size] * len(counts)
    for small, large in pairwise(drawn):
        assert set(small) <= set(large)
