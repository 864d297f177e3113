"""What is exported is what is in the set: pixels, ids, labels, units and what is not known."""

import json
import shutil
import sys
from pathlib import Path

import datasets
import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from astro_ssl_nb import CutoutSet
from data_fetch import export

IDS = np.array([2**64 - 1, 2**63, 2**63 + 1, 1237648720693755918, 0], np.uint64)
UNKNOWN = np.array([False, True, False, False, True])
CLASSES = ["STAR", "QSO", "GALAXY", "STAR", "QSO"]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks that do not divide the set, and a quiet run."""
    monkeypatch.setattr(sys.modules[export.__module__], "BLOCK", 2)
    datasets.disable_progress_bars()


@pytest.fixture
def cutouts(tmp_path):
    """A saved set of flux with masks of every kind."""
    table = Table(
        {
            "objid": IDS,
            "ra": np.linspace(0, 359.9, 5),
            "dec": np.linspace(-80, 80, 5),
            "class": CLASSES,
            "subClass": MaskedColumn(["A0", "", "", "M5", "é"], mask=UNKNOWN),
            "redshift": MaskedColumn([0.1, 9.0, np.nan, -0.001, 9.0], mask=UNKNOWN),
            "specObjID": MaskedColumn(IDS, mask=UNKNOWN),
            "field": MaskedColumn([1, 2, 999999, -4, 5], mask=UNKNOWN),
            "clean": MaskedColumn([True, True, False, True, False], mask=UNKNOWN),
        }
    )
    table["ra"].unit = "deg"
    images = np.random.default_rng(0).normal(size=(5, 3, 8, 6)).astype("float32")
    card = {"survey": "SDSS", "release": 17, "archive": "sdss", "date": "2026-01-02"}
    return CutoutSet.open(
        CutoutSet.from_arrays(images, table, bands="gri", **card).save(tmp_path / "set")
    ), tmp_path / "set"


def check_columns(read, columns):
    """`read` gives a column by name: known values must be the same, and the others marked."""
    assert np.asarray(read("objid")).dtype == np.uint64
    np.testing.assert_array_equal(read("objid"), IDS)
    np.testing.assert_array_equal(np.asarray(read("specObjID"))[~UNKNOWN], IDS[~UNKNOWN])
    np.testing.assert_array_equal(read("redshift"), [0.1, np.nan, np.nan, -0.001, np.nan])
    np.testing.assert_array_equal(np.asarray(read("field"))[~UNKNOWN], [1, 999999, -4])
    np.testing.assert_array_equal(np.asarray(read("clean"))[~UNKNOWN], [True, False, True])
    for name in ("subClass", "specObjID", "field", "clean"):
        np.testing.assert_array_equal(np.asarray(read(f"{name}_mask"), bool), UNKNOWN)
    assert "redshift_mask" not in columns and "objid_mask" not in columns


def test_fits(cutouts, tmp_path):
    cutouts, folder = cutouts
    path = export(folder, tmp_path / "new" / "set.fits", "fits")
    with fits.open(path) as hdus:
        hdus.verify("exception")
        np.testing.assert_array_equal(hdus[0].data, cutouts.images)
        header = hdus[0].header
        assert [header[f"BAND{i}"] for i in (1, 2, 3)] == ["g", "r", "i"]
        assert (header["PIXSCALE"], header["BUNIT"], header["RELEASE"]) == (0.396, "nanomaggy", 17)
    table = Table.read(path, hdu="CATALOG")
    check_columns(lambda name: np.ma.filled(table[name].astype(float), np.nan) if name == "redshift" else table[name],
                  table.colnames)  # fmt: skip
    assert list(table["class"]) == CLASSES and table["ra"].unit == "deg"
    assert [str(table["subClass"][i]) for i in (0, 3)] == ["A0", "M5"]


def test_hdf5(cutouts, tmp_path):
    cutouts, folder = cutouts
    with h5py.File(export(folder, tmp_path / "set.h5", "hdf5")) as file:
        np.testing.assert_array_equal(file["images"][:], cutouts.images.transpose(0, 2, 3, 1))
        names = list(file["ans"].attrs["names"])
        assert [names[i] for i in file["ans"]] == CLASSES == list(file["class"].asstr())
        check_columns(lambda name: file[name][:], list(file))
        assert list(file["subClass"].asstr()) == ["A0", "", "", "M5", ""]
        np.testing.assert_array_equal(file["ra"], cutouts.catalogue["ra"])
        assert file["ra"].attrs["unit"] == "deg" and list(file.attrs["bands"]) == ["g", "r", "i"]
        assert json.loads(file.attrs["card"]) == cutouts.card
        np.testing.assert_array_equal(file["pxscale"], np.full(5, 0.396))


def test_datasets(cutouts, tmp_path):
    cutouts, folder = cutouts
    read = datasets.load_from_disk(str(export(folder, tmp_path / "hub", "datasets")))
    assert read.features["label"].names == ["GALAXY", "QSO", "STAR"]
    assert read.features["label"].int2str(read["label"][:]) == CLASSES
    np.testing.assert_array_equal(np.array(read["image"][:], "float32"), cutouts.images)
    assert read.features["image"].shape == (3, 8, 6)
    assert read["objid"][:] == IDS.tolist()
    assert read["specObjID"][:] == [None if gone else int(i) for i, gone in zip(IDS, UNKNOWN, strict=True)]
    assert read["subClass"][:] == ["A0", None, "", "M5", None]
    assert read["clean"][:] == [True, None, False, True, None]
    assert read["redshift"][1] is None and read["redshift"][3] == -0.001
    assert json.loads(read.info.description) == cutouts.card
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub", "set"]


@pytest.fixture
def own(tmp_path):
    """A set of pictures, some without a class."""
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 6), dtype=np.uint8)
    table = Table({"class": MaskedColumn(["b", "z", "a", "b", "a"], mask=UNKNOWN)})
    cutouts = CutoutSet.from_arrays(images, table, bands="RGB", pixel_scale=None, survey="image files")
    return cutouts.save(tmp_path / "own"), images


def test_pictures_and_missing_labels(own, tmp_path):
    folder, images = own
    with fits.open(export(folder, tmp_path / "own.fits")) as hdus:
        np.testing.assert_array_equal(hdus[0].data, images)
        assert "BUNIT" not in hdus[0].header and "PIXSCALE" not in hdus[0].header
    with h5py.File(export(folder, tmp_path / "own.h5", "hdf5")) as file:
        assert file["images"].dtype == np.uint8 and "pxscale" not in file
        assert list(file["ans"].attrs["names"]) == ["a", "b"] and list(file["ans"]) == [1, -1, 0, 1, -1]
        np.testing.assert_array_equal(file["class_mask"], UNKNOWN)
    read = datasets.load_from_disk(str(export(folder, tmp_path / "own_hub", "datasets")))
    np.testing.assert_array_equal(
        np.stack([np.asarray(image) for image in read["image"]]), images.transpose(0, 2, 3, 1)
    )
    assert read["label"][:] == [1, None, 0, 1, None]


def test_class_that_is_not_a_number_is_none(tmp_path):
    table = Table({"class": [1.0, np.nan, 0.0]})
    folder = CutoutSet.from_arrays(np.ones((3, 1, 4, 4)), table, bands="r").save(tmp_path / "set")
    with h5py.File(export(folder, tmp_path / "out.h5", "hdf5")) as file:
        assert list(file["ans"].attrs["names"]) == ["0", "1"] and list(file["ans"]) == [1, -1, 0]


@pytest.mark.parametrize("format", ["fits", "hdf5", "datasets"])
def test_set_without_classes(tmp_path, format):
    folder = CutoutSet.from_arrays(np.ones((3, 1, 4, 4)), Table({"ra": [1.0, 2, 3]}), bands="r").save(tmp_path / "set")
    assert export(folder, tmp_path / "out", format) == tmp_path / "out"
    if format == "hdf5":
        with h5py.File(tmp_path / "out") as file:
            assert "ans" not in file
    if format == "datasets":
        assert set(datasets.load_from_disk(str(tmp_path / "out")).features) == {"image", "objid", "ra"}


@pytest.mark.parametrize("format", ["fits", "hdf5", "datasets"])
def test_what_exists_is_not_overwritten(cutouts, tmp_path, format):
    out = tmp_path / "mine"
    out.write_text("precious")
    with pytest.raises(FileExistsError, match="exists: choose another name"):
        export(cutouts[1], out, format)
    assert out.read_text() == "precious"


def test_failure_leaves_nothing(cutouts, tmp_path, monkeypatch):
    def fail(self, rows):
        if max(rows) > 2:
            raise OSError("the disk broke")
        return self._images[rows]

    monkeypatch.setattr(CutoutSet, "read", fail)
    for format in ("fits", "hdf5"):
        with pytest.raises(OSError, match="the disk broke"):
            export(cutouts[1], tmp_path / "out", format)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("format, library", [("hdf5", "h5py"), ("datasets", "datasets")])
def test_library_that_is_not_installed_is_named(cutouts, tmp_path, monkeypatch, format, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=f"pip install {library}"):
        export(cutouts[1], tmp_path / "out", format)
    assert not (tmp_path / "out").exists()


def test_unknown_format_and_no_set(cutouts, tmp_path):
    with pytest.raises(ValueError, match="unknown format 'csv': choose from fits, hdf5, datasets"):
        export(cutouts[1], tmp_path / "out", "csv")
    with pytest.raises(FileNotFoundError, match="there is no CutoutSet at"):
        export(Path(tmp_path / "nothing"), tmp_path / "out")


@pytest.mark.parametrize("format, name", [("hdf5", "ans"), ("datasets", "label")])
def test_name_that_the_format_needs(tmp_path, format, name):
    table = Table({"class": ["a", "b"], name: [1, 2]})
    folder = CutoutSet.from_arrays(np.ones((2, 1, 4, 4)), table, bands="r").save(tmp_path / "set")
    with pytest.raises(ValueError, match=f"column '{name}'"):
        export(folder, tmp_path / "out", format)


@pytest.mark.parametrize("format", ["fits", "hdf5"])
def test_column_that_is_called_like_the_mask_of_another(tmp_path, format):
    table = Table({"run": MaskedColumn([1, 2], mask=[False, True]), "run_mask": [3, 4]})
    folder = CutoutSet.from_arrays(np.ones((2, 1, 4, 4)), table, bands="r").save(tmp_path / "set")
    with pytest.raises(ValueError, match="unknown values in 'run', and run_mask: rename the latter"):
        export(folder, tmp_path / "out", format)


def test_label_is_the_class_where_there_is_no_class(tmp_path):
    table = Table({"label": [10, 2, 10]})
    folder = CutoutSet.from_arrays(np.ones((3, 1, 4, 4)), table, bands="r").save(tmp_path / "set")
    with h5py.File(export(folder, tmp_path / "out.h5", "hdf5")) as file:
        assert list(file["ans"].attrs["names"]) == ["2", "10"] and list(file["ans"]) == [1, 0, 1]
        assert list(file["label"]) == [10, 2, 10]
    read = datasets.load_from_disk(str(export(folder, tmp_path / "hub", "datasets")))
    assert read.features["label"].names == ["2", "10"] and read["label"][:] == [1, 0, 1]
    assert list(fits.getdata(export(folder, tmp_path / "out.fits"), "CATALOG")["label"]) == [10, 2, 10]


def test_classes_that_are_numbers_keep_them(tmp_path):
    numbers = np.random.default_rng(0).permutation(12)
    folder = CutoutSet.from_arrays(np.ones((12, 1, 4, 4)), Table({"class": numbers}), bands="r").save(tmp_path / "set")
    with h5py.File(export(folder, tmp_path / "out.h5", "hdf5")) as file:
        assert list(file["ans"]) == numbers.tolist()
        assert list(file["ans"].attrs["names"]) == [str(number) for number in range(12)]


def test_more_classes_than_an_attribute_and_a_short_integer_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[export.__module__], "BLOCK", 40_000)
    table = Table({"class": np.arange(40_000)})
    folder = CutoutSet.from_arrays(np.ones((40_000, 1, 1, 1)), table, bands="r").save(tmp_path / "set")
    with h5py.File(export(folder, tmp_path / "out.h5", "hdf5")) as file:
        assert file["ans"][-1] == 39_999 and len(file["ans"].attrs["names"]) == 40_000


def test_column_of_vectors(tmp_path):
    vectors = MaskedColumn(np.arange(6.0).reshape(2, 3), mask=[[False, True, False], [False] * 3])
    folder = CutoutSet.from_arrays(np.ones((2, 1, 4, 4)), Table({"v": vectors}), bands="r").save(tmp_path / "set")
    assert datasets.load_from_disk(str(export(folder, tmp_path / "hub", "datasets")))["v"][:] == [
        [0, None, 2],
        [3, 4, 5],
    ]
    for format in ("fits", "hdf5"):
        path = export(folder, tmp_path / f"out.{format}", format)
        read = fits.getdata(path, "CATALOG")["v"] if format == "fits" else h5py.File(path)["v"][:]
        np.testing.assert_array_equal(read, [[0, np.nan, 2], [3, 4, 5]])


def test_label_that_is_measured_is_no_class(tmp_path):
    table = Table({"label": [0.1, 0.2, 0.3]})
    folder = CutoutSet.from_arrays(np.ones((3, 1, 4, 4)), table, bands="r").save(tmp_path / "set")
    with h5py.File(export(folder, tmp_path / "out.h5", "hdf5")) as file:
        assert "ans" not in file and list(file["label"]) == [0.1, 0.2, 0.3]


@pytest.mark.parametrize("format", ["fits", "hdf5", "datasets"])
def test_empty_set_is_refused(cutouts, tmp_path, format):
    folder = cutouts[0][[]].save(tmp_path / "empty")
    with pytest.raises(ValueError, match="empty is a set without cutouts: there is nothing to export"):
        export(folder, tmp_path / "out", format)
    assert not (tmp_path / "out").exists()


def test_letters_that_fits_cannot_hold(tmp_path):
    table = Table({"class": ["étoile", "galaxie"]})
    folder = CutoutSet.from_arrays(np.ones((2, 1, 4, 4)), table, bands="r").save(tmp_path / "set")
    with pytest.raises(ValueError, match="'class' has letters beyond ASCII"):
        export(folder, tmp_path / "out.fits")
    with h5py.File(export(folder, tmp_path / "out.h5", "hdf5")) as file:
        assert list(file["ans"].attrs["names"]) == ["galaxie", "étoile"]


def test_the_shell_describes_and_exports_a_set(undisturbed, tmp_path, command):
    folder = shutil.copytree(undisturbed, tmp_path / "set")
    (folder / "README.md").unlink()
    done = command("card", folder)
    assert (done.returncode, done.out.strip()) == (0, str(folder / "README.md")) and (folder / "README.md").exists()
    for name, options, start in (("a.fits", (), b"SIMPLE"), ("a.h5", ("--format", "hdf5"), b"\x89HDF")):
        done = command("export", folder, tmp_path / name, *options)
        assert (done.returncode, done.out.strip()) == (0, str(tmp_path / name))
        assert (tmp_path / name).read_bytes().startswith(start)
    again = command("export", folder, tmp_path / "a.fits")
    assert again.returncode == 2 and "exists: choose another name" in again.err
