"""The real archives, by the smallest requests that prove each query and path: `pytest --remote-data tests/data_fetch`.

About ten queries and two frames (7 MB); a minute or two.
"""

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

import data_fetch

REAL = Path(__file__).parents[2] / ".." / "shared" / "sdss"
BRIGHT = (14, 17)  # keeps answers short
pytestmark = pytest.mark.remote_data


@pytest.fixture(scope="module")
def sdss():
    """One client for all tests, so that the limit of its queries a minute holds for them together."""
    with data_fetch.open_archive("sdss") as archive:
        yield archive


@pytest.fixture(scope="module")
def pretext(sdss):
    return data_fetch.plan("pretext", archive=sdss, n=5, bands="r", mag_limits=BRIGHT).catalogue


def assert_sensible(catalogue):
    assert catalogue["objid"].dtype == np.uint64 and len(set(catalogue["objid"])) == len(catalogue)
    # Run, camcol and field are bits of the id.
    for name, low, bits in (("run", 32, 16), ("camcol", 29, 3), ("field", 16, 12)):
        part = catalogue["objid"] >> np.uint64(low) & np.uint64(2**bits - 1)
        assert np.array_equal(part.astype(int), catalogue[name].astype(int))
    assert np.all((catalogue["ra"] >= 0) & (catalogue["ra"] < 360) & (np.abs(catalogue["dec"]) <= 90))
    for name in catalogue.colnames:
        if catalogue[name].dtype.kind == "f":
            assert not np.isin(np.ma.compressed(np.ma.asarray(catalogue[name])), (-9999, -1000)).any(), name


def test_pretext_query(pretext):
    assert_sensible(pretext)
    assert len(pretext) == 5 and set(pretext["type"]) <= {3, 6}
    assert np.all((pretext["modelMag_r"] >= BRIGHT[0]) & (pretext["modelMag_r"] <= BRIGHT[1]))


@pytest.mark.parametrize(
    "name, classes", [("sg", {"STAR", "GALAXY"}), ("sgq", {"STAR", "GALAXY", "QSO"}), ("mg", {"MERGING", "OTHER"})]
)
def test_query_with_classes(name, classes, sdss):
    limits = None if name == "mg" else (14, 19)  # few quasars are brighter
    catalogue = data_fetch.plan(name, archive=sdss, n=2 * len(classes), bands="r", mag_limits=limits).catalogue
    assert_sensible(catalogue)
    labels, counts = np.unique(catalogue["class"], return_counts=True)
    assert set(labels) == classes and set(counts) == {2}


def test_object_is_found_by_its_position(pretext, sdss, tmp_path):
    Table(pretext["ra", "dec"][:1], meta={}).write(tmp_path / "mine.ecsv")
    catalogue = data_fetch.plan("positions", archive=sdss, source=tmp_path / "mine.ecsv", bands="r").catalogue
    assert list(catalogue["objid"]) == list(pretext["objid"][:1])


def test_efigi_from_vizier(sdss):
    tables = sdss.vizier("J/A+A/532/A74")
    (efigi,) = (table for table in tables if {"T", "RAJ2000", "DEJ2000"} <= set(table.colnames))
    # Baillard et al. 2011 give 4458 galaxies, and stages from -6 to 11.
    assert len(efigi) == 4458 and np.min(efigi["T"]) == -6 and np.max(efigi["T"]) == 11


def test_efigi_galaxies_in_sdss(sdss):
    catalogue = data_fetch.plan("ef2", archive=sdss, n=2, bands="r").catalogue
    assert_sensible(catalogue)
    assert len(catalogue) == 2 and set(catalogue["class"]) <= {"elliptical", "spiral"}


def test_frame(sdss, tmp_path):
    which = {"run": 3918, "camcol": 3, "field": 213, "band": "r"}
    frame = sdss.read_frame(**which, folder=tmp_path)
    assert frame.finite and sdss.frame_path(**which, folder=tmp_path).exists()
    known = REAL / "frame-r-003918-3-0213.fits.bz2"
    if known.exists():
        assert np.array_equal(frame.data, data_fetch.Frame.decode(known.read_bytes(), **which).data)


def test_fetch_from_the_query_to_the_image(pretext, sdss, tmp_path):
    out = tmp_path / "set"
    cutouts = data_fetch.fetch(
        "pretext", archive=sdss, n=1, bands="r", size=32, mag_limits=BRIGHT, out=out, progress=False
    )
    assert data_fetch.verify(out) == [] and cutouts.images.shape == (1, 1, 32, 32)
    # An object brighter than r = 17 outshines, in the middle of its cutout, whatever is at the corners.
    image = cutouts.images[0, 0]
    assert image[14:18, 14:18].mean() > 5 * abs(np.median([image[:4, :4], image[-4:, -4:]]))
    assert not (out / "missing.ecsv").exists() or len(Table.read(out / "missing.ecsv")) == 0
