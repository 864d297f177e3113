import copy
import json
import pickle

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table
from PIL import Image

import astro_ssl_nb as ssl


def test_a_saved_set_comes_back_whole(blobs, tmp_path):
    folder = blobs[::2].save(tmp_path / "half")
    again = ssl.CutoutSet.open(folder)
    np.testing.assert_array_equal(again.images, blobs.images[::2])
    assert isinstance(again.images, np.memmap)
    assert again.catalogue["objid"].dtype == np.uint64
    np.testing.assert_array_equal(again.catalogue["objid"], blobs.catalogue["objid"][::2])
    np.testing.assert_array_equal(again.catalogue["modelMag_u"].mask, blobs.catalogue["modelMag_u"].mask[::2])
    assert again.catalogue["modelMag_u"].unit == "mag"
    assert again.bands == tuple("ugriz") and again.pixel_scale == 0.396 and again.card["survey"] == "blobs"
    assert again.checksum() == blobs[::2].checksum() != blobs[1::2].checksum()


def test_a_set_on_disk_travels_as_its_path(blobs, tmp_path):
    part = ssl.CutoutSet.open(blobs.save(tmp_path / "set"))[200:]
    sent = pickle.dumps(part)
    assert len(sent) < 0.5 * part.images.nbytes
    received = pickle.loads(sent)
    assert np.array_equal(received.images, blobs.images[200:]) and received.checksum() == part.checksum()
    assert np.array_equal(copy.deepcopy(blobs[:3]).images, blobs.images[:3])  # and one in memory as a whole


def test_nothing_is_overwritten(blobs, tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError, match="mine exists"):
        blobs.save(tmp_path / "mine")


def test_a_folder_of_the_user_beside_the_set_stays(blobs, tmp_path):
    (tmp_path / "mine.part").mkdir()
    (tmp_path / "mine.part" / "precious").write_text("mine")
    blobs[:3].save(tmp_path / "mine")
    assert (tmp_path / "mine.part" / "precious").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "mine.part"]
    assert (tmp_path / "mine").stat().st_mode == (tmp_path / "mine.part").stat().st_mode


def test_a_saved_set_does_not_claim_to_be_what_was_fetched(tmp_path):
    fetched = {"request": {"n": 2}, "checksums": {"images.npy": "0"}, "missing": 0, "expected": 2}
    cutouts = ssl.CutoutSet.from_arrays(
        np.zeros((2, 1, 8, 8)), Table({"objid": [1, 2]}), bands="r", sql="SELECT 1", **fetched
    )
    saved = ssl.CutoutSet.open(cutouts[:1].save(tmp_path / "part"))
    assert saved.card["sql"] == "SELECT 1" and not saved.card.keys() & fetched.keys()
    assert cutouts.card.keys() > fetched.keys()


@pytest.mark.parametrize("name", ["images.npy", "catalogue.parquet", "card.json"])
def test_a_missing_file_is_named(blobs, tmp_path, name):
    folder = blobs[:5].save(tmp_path / "set")
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} missing"):
        ssl.CutoutSet.open(folder)


def test_a_reader_who_skipped_the_first_notebook_is_told_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no CutoutSet at .*nothing.*notebook 01 does.*run = .demo"):
        ssl.CutoutSet.open(tmp_path / "nothing")


def test_a_wrong_row_count_is_refused(blobs, tmp_path):
    folder = blobs[:5].save(tmp_path / "set")
    np.save(folder / "images.npy", blobs.images[:4])
    with pytest.raises(ValueError, match="4 images but 5 catalogue rows"):
        ssl.CutoutSet.open(folder)


@pytest.mark.parametrize("name", ["images.npy", "catalogue.parquet", "card.json"])
def test_a_broken_file_is_refused(blobs, tmp_path, name):
    folder = blobs[:5].save(tmp_path / "set")
    (folder / name).write_bytes((folder / name).read_bytes()[:40])
    with pytest.raises(ValueError, match="cannot be read as a CutoutSet"):
        ssl.CutoutSet.open(folder)


def test_bands_must_name_the_planes():
    with pytest.raises(ValueError, match="name 3 planes, the images have 5"):
        ssl.CutoutSet.from_arrays(np.zeros((2, 5, 8, 8)), Table({"objid": [1, 2]}), bands="gri")


def test_planes_and_pixels_that_cannot_be_are_refused():
    table = Table({"objid": [1]})
    refused = {
        "give each plane a name of its own": (np.zeros((1, 2, 8, 8)), {"bands": "rr"}),
        "have the planes R, G, B": (np.zeros((1, 3, 8, 8), np.uint8), {"bands": "gri"}),
        "pixel_scale=-0.4 arcsec": (np.zeros((1, 1, 8, 8)), {"bands": "r", "pixel_scale": -0.4}),
        "pixel_scale=nan arcsec": (np.zeros((1, 1, 8, 8)), {"bands": "r", "pixel_scale": np.nan}),
    }
    for match, (images, options) in refused.items():
        with pytest.raises(ValueError, match=match):
            ssl.CutoutSet.from_arrays(images, table, **options)


def test_a_table_of_quantities_is_a_catalogue_like_any_other():
    catalogue = QTable({"modelMag_r": [17.5, 18.5] * u.mag})
    cutouts = ssl.CutoutSet.from_arrays(np.zeros((2, 1, 8, 8)), catalogue, bands="r")
    assert ssl.property_values(cutouts.catalogue, ssl.MAGNITUDES[2:3]).tolist() == [[17.5], [18.5]]
    assert cutouts.catalogue["modelMag_r"].unit == u.mag


def test_numbers_of_numpy_go_into_the_card_and_objects_are_refused(tmp_path):
    images, place = np.zeros((1, 1, 8, 8)), SkyCoord([10] * u.deg, [20] * u.deg)
    saved = ssl.CutoutSet.from_arrays(images, Table({"objid": [1]}), bands="r", seeing=np.float32(1.25)).save(
        tmp_path / "a"
    )
    assert ssl.CutoutSet.open(saved).card["seeing"] == 1.25
    with pytest.raises(ValueError, match="column 'place' of the catalogue holds SkyCoord"):
        ssl.CutoutSet.from_arrays(images, Table({"place": place}), bands="r").save(tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_label_column_that_is_not_there_is_named(blobs):
    with pytest.raises(KeyError, match="no label column 'kind'"):
        blobs.labels("kind")


@pytest.mark.parametrize(
    "values",
    [[0.0, 1.0, np.nan], np.array(["A", "B", None], object), MaskedColumn(["A", "B", "C"], mask=[False, False, True])],
    ids=["NaN", "None", "masked"],
)
def test_an_unknown_label_is_no_class(values):
    cutouts = ssl.CutoutSet.from_arrays(np.zeros((3, 1, 8, 8)), Table({"class": values}), bands="r")
    with pytest.raises(ValueError, match="1 of 3 rows have no 'class'"):
        cutouts.labels("class")
    assert len(set(cutouts[:2].labels("class"))) == 2
    assert cutouts.with_columns(name=["nan", "a", "b"]).labels("name")[0] == "nan"


def test_a_masked_condition_selects_nothing_and_no_rows_are_an_empty_set(blobs):
    part = blobs[:20]
    bright = part.catalogue["modelMag_u"] < 30
    assert bright.mask.sum() == 2 and len(part[bright]) == 18
    assert len(part[[]]) == 0 and part[[]].images.shape == (0, 5, 16, 16)


@pytest.mark.parametrize("scale", [0.396 * u.arcsec, (0.396 / 3600) * u.deg, np.float64(0.396)])
def test_a_pixel_scale_of_any_kind_is_saved_in_arcsec(scale, tmp_path):
    cutouts = ssl.CutoutSet.from_arrays(np.zeros((1, 1, 8, 8)), Table({"objid": [1]}), bands="r", pixel_scale=scale)
    assert ssl.CutoutSet.open(cutouts.save(tmp_path / "set")).pixel_scale == pytest.approx(0.396, rel=1e-12)


def test_a_set_that_cannot_be_saved_leaves_nothing(tmp_path):
    table = Table({"objid": [1, 2], "note": np.array(["a", 3], object)})
    cutouts = ssl.CutoutSet.from_arrays(np.zeros((2, 1, 8, 8)), table, bands="r")
    with pytest.raises(ValueError, match="'note' of the catalogue holds int, str"):
        cutouts.save(tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_what_is_masked_is_saved_as_nan_or_zero_and_not_as_what_lay_beneath(blobs, tmp_path):
    mag, run = (MaskedColumn([first, -9999], mask=[False, True]) for first in (17.5, 5))
    saved = blobs[:2].with_columns(mag=mag, run=run).save(tmp_path / "set")
    read = pq.read_table(saved / "catalogue.parquet", columns=["mag", "run"]).to_pydict()  # as any program does
    assert read["run"] == [5, 0] and read["mag"][0] == 17.5 and np.isnan(read["mag"][1])


def test_text_in_a_column_of_objects_is_saved_as_text(tmp_path):
    names = np.array(["a", "NGC 4303"], object)  # as clients of archives and pandas give it
    cutouts = ssl.CutoutSet.from_arrays(np.zeros((2, 1, 8, 8)), Table({"objid": [1, 2]}), bands="r")
    cutouts.catalogue["name"] = names
    again = ssl.CutoutSet.open(cutouts.save(tmp_path / "set")).catalogue["name"]
    assert again.dtype.kind == "U" and again.tolist() == ["a", "NGC 4303"]
    assert cutouts.catalogue["name"].dtype == object, "saving changes nothing in memory"


def test_blocks_of_large_cutouts_hold_fewer(blobs, monkeypatch):
    assert [start for start, _ in blobs.blocks()] == [0]
    numbers = np.prod(blobs.shape[1:])
    for room, size in ((128.5 * numbers, 128), (0.5 * numbers, 1)):  # a cutout is read, however large
        monkeypatch.setattr("astro_ssl_nb.cutouts.BLOCK_NUMBERS", int(room))
        starts, images = zip(*blobs.blocks(), strict=True)
        assert list(starts) == list(range(0, 300, size))
        np.testing.assert_array_equal(np.concatenate(images), blobs.images)


def test_split_is_disjoint_complete_and_repeatable(blobs):
    parts = blobs.split((0.6, 0.2, 0.2), seed=3)
    ids = [set(part.catalogue["objid"]) for part in parts]
    assert set.union(*ids) == set(blobs.catalogue["objid"]) and sum(map(len, ids)) == len(blobs)
    assert [len(part) for part in parts] == pytest.approx([180, 60, 60], abs=3)
    assert ids == [set(part.catalogue["objid"]) for part in blobs.split((0.6, 0.2, 0.2), seed=3)]
    assert ids != [set(part.catalogue["objid"]) for part in blobs.split((0.6, 0.2, 0.2), seed=4)]


def test_no_two_parts_share_a_pixel_of_the_sky():
    # A crowded patch: 400 cutouts of 32 pixels (12.7 arcsec) in 6 x 6 arcmin, and each object twice.
    rng = np.random.default_rng(1)
    ra, dec = 10 + rng.uniform(0, 0.1, 200) / np.cos(np.radians(30)), 30 + rng.uniform(0, 0.1, 200)
    table = Table({"objid": np.tile(np.arange(200), 2), "ra": np.tile(ra, 2), "dec": np.tile(dec, 2)})
    cutouts = ssl.CutoutSet.from_arrays(np.zeros((400, 1, 32, 32)), table, bands="r")
    first, second = cutouts.split((0.5, 0.5), seed=0)
    assert not set(first.catalogue["objid"]) & set(second.catalogue["objid"])
    d_ra = np.abs(np.subtract.outer(first.catalogue["ra"], second.catalogue["ra"])) * np.cos(np.radians(30)) * 3600
    d_dec = np.abs(np.subtract.outer(first.catalogue["dec"], second.catalogue["dec"])) * 3600
    assert np.maximum(d_ra, d_dec).min() > 32 * 0.396


def test_splits_that_cannot_be_are_refused(blobs):
    for fractions in ((0.5, 0.6), (1.2, -0.2), (np.nan, 0.5)):
        with pytest.raises(ValueError, match="positive and sum to 1"):
            blobs.split(fractions)
    for few, fractions in ((blobs[:2], (0.8, 0.1, 0.1)), (blobs[:100], (0.001, 0.999))):
        with pytest.raises(ValueError, match="too few to split"):
            few.split(fractions)
    with pytest.raises(ValueError, match="set is empty"):
        blobs[[]].split()
    lost = blobs.with_columns(ra=np.where(np.arange(300) == 7, np.nan, 150.0))
    with pytest.raises(ValueError, match="1 of 300 rows have no `ra` or `dec`, such as rows 7"):
        lost.split()
    with pytest.raises(ValueError, match="300 cutouts are too few .* which leaves 1 groups, the largest of 300"):
        blobs.with_columns(ra=np.full(300, 150.0), dec=np.zeros(300)).split()


def test_without_a_pixel_scale_rows_at_one_place_stay_together():
    ra = 10 + np.repeat(np.arange(50), 2) / 100 + np.tile([0, 1 / 3600], 50)
    table = Table({"objid": np.arange(100), "ra": ra, "dec": np.zeros(100), "pair": np.repeat(np.arange(50), 2)})
    cutouts = ssl.CutoutSet.from_arrays(np.zeros((100, 1, 8, 8)), table, bands="r", pixel_scale=None)
    first, second = cutouts.split((0.5, 0.5))
    assert not set(first.catalogue["pair"]) & set(second.catalogue["pair"])


def test_own_pictures(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(rng.integers(0, 255, (50, 60, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    paths = sorted(tmp_path.glob("*.png"))
    cutouts = ssl.CutoutSet.from_image_files(paths, Table({"label": ["a", "b", "a"]}), size=24)
    assert cutouts.images.shape == (3, 3, 24, 24) and cutouts.images.dtype == np.uint8
    assert cutouts.is_picture and cutouts.bands == ("R", "G", "B")
    assert list(cutouts.catalogue["objid"]) == [0, 1, 2]
    card = json.loads((cutouts.save(tmp_path / "set") / "card.json").read_text())
    assert card["bands"] == ["R", "G", "B"]


def test_own_images_may_be_what_a_generator_yields(tmp_path):
    for name in "ab":
        fits.writeto(tmp_path / f"{name}.fits", np.full((8, 8), ord(name), "float32"))
    files = (tmp_path / f"{name}.fits" for name in "ab")
    cutouts = ssl.CutoutSet.from_image_files(files, Table({"objid": [1, 2]}), size=8)
    assert cutouts.images[:, 0, 0, 0].tolist() == [ord("a"), ord("b")]


def test_own_fits_images_keep_their_flux(tmp_path):
    y, x = np.mgrid[:64, :64] - 31.5
    image = np.exp(-(x**2 + y**2) / 50).astype("float32")
    fits.writeto(tmp_path / "one.fits", np.stack([image, 2 * image]))
    cutouts = ssl.CutoutSet.from_image_files([tmp_path / "one.fits"], Table({"objid": [1]}), size=32)
    assert cutouts.images.shape == (1, 2, 32, 32)
    np.testing.assert_allclose(cutouts.images.sum((0, 2, 3)), [image.sum(), 2 * image.sum()], rtol=0.02)


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "page.jpeg").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"page.jpeg cannot be read"):
        ssl.CutoutSet.from_image_files([tmp_path / "page.jpeg"], Table({"objid": [1]}))


@pytest.mark.parametrize("image", [np.uint16(40000), np.int32(70000), np.float32(0.25)])
def test_deep_grey_pictures_keep_their_values(tmp_path, image):
    Image.fromarray(np.full((8, 8), image)).save(tmp_path / "deep.tif")
    cutouts = ssl.CutoutSet.from_image_files([tmp_path / "deep.tif"], Table({"objid": [1]}), size=8)
    assert cutouts.images.dtype == np.float32 and cutouts.bands == ("band1",)
    np.testing.assert_allclose(cutouts.images, image, rtol=1e-6)


@pytest.mark.parametrize("deep", [np.uint16, np.float32])
def test_a_deep_grey_picture_is_the_same_way_up_as_one_of_8_bits(tmp_path, deep):
    top = np.zeros((8, 8), np.uint8)
    top[:2] = 200
    shown = []
    for name, image in (("8.tif", top), ("deep.tif", top.astype(deep) * 100)):
        Image.fromarray(image).save(tmp_path / name)
        cutouts = ssl.CutoutSet.from_image_files([tmp_path / name], Table({"objid": [1]}), size=8)
        picture = ssl.figures.show_cutouts(cutouts).axes[0].images[0]
        rows = picture.get_array().mean(axis=(1, 2))
        shown.append(np.argmax(rows if picture.origin == "upper" else rows[::-1]))
    assert shown[0] < 2 and shown[1] < 2


@pytest.mark.parametrize("size", [64.0, "64", 0])
def test_a_size_that_is_no_whole_number_is_spoken_of_and_not_the_file(tmp_path, size):
    Image.new("L", (8, 8)).save(tmp_path / "one.png")
    with pytest.raises(ValueError, match=rf"^size={size!r} pixels a side: give a whole number"):
        ssl.CutoutSet.from_image_files([tmp_path / "one.png"], Table({"objid": [1]}), size=size)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((64, 60, 3), r"\(64, 60, 3\) has the bands last: put them first with np.moveaxis"),
        ((2, 3, 8, 8), r"2 or 3 axes, the shapes of its images are \(2, 3, 8, 8\)"),
        ((), r"2 or 3 axes, the shapes of its images are \(\)"),
    ],
)
def test_a_fits_image_of_another_shape_is_refused(tmp_path, shape, reason):
    fits.PrimaryHDU(np.zeros(shape, "float32") if shape else None).writeto(tmp_path / "one.fits")
    with pytest.raises(ValueError, match=reason):
        ssl.CutoutSet.from_image_files([tmp_path / "one.fits"], Table({"objid": [1]}))


@pytest.mark.parametrize("shape", [(3, 40, 30), (3, 40, 15), (7, 8, 6), (5, 8, 6)])
def test_a_fits_cube_with_the_bands_first_is_taken_however_narrow_it_is(tmp_path, shape):
    fits.writeto(tmp_path / "one.fits", np.zeros(shape, "float32"))
    cutouts = ssl.CutoutSet.from_image_files([tmp_path / "one.fits"], Table({"objid": [1]}), size=6)
    assert cutouts.shape == (1, shape[0], 6, 6)


def test_pictures_and_flux_do_not_mix(tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    fits.writeto(tmp_path / "b.fits", np.zeros((3, 8, 8), "float32"))
    with pytest.raises(ValueError, match=r"3 of uint8 in .*a.png, 3 of float32 in .*b.fits\): make one set of each"):
        ssl.CutoutSet.from_image_files([tmp_path / "a.png", tmp_path / "b.fits"], Table({"objid": [1, 2]}))


def test_a_row_is_read_as_a_batch_of_one_wherever_it_lies(blobs, tmp_path):
    stored = ssl.CutoutSet.open(blobs[:9].save(tmp_path / "set"))
    for cutouts in (blobs, stored, stored[2:], ssl.CutoutSet.concatenate([stored, blobs[9:]])):
        assert cutouts.read(3).shape == cutouts.read([3]).shape == (1, 5, 16, 16)


def test_masked_pixels_are_unknown():
    images = np.ma.masked_equal(np.where(np.eye(8), -9999.0, 1.0)[None, None], -9999)
    cutouts = ssl.CutoutSet.from_arrays(images, Table({"objid": [1]}), bands="r")
    assert np.isnan(cutouts.images).sum() == 8 and np.nanmin(cutouts.images) == 1
    pictures = np.ma.masked_equal(np.zeros((1, 3, 8, 8), np.uint8), 0)
    with pytest.raises(ValueError, match="masked uint8 pictures"):
        ssl.CutoutSet.from_arrays(pictures, Table({"objid": [1]}), bands="RGB")


def test_a_table_that_is_indexed_by_id_keeps_its_ids():
    frame = pd.DataFrame({"objid": [70, 71], "class": ["E", "S"]}).set_index("objid")
    for table in (frame, frame.reset_index()):
        cutouts = ssl.CutoutSet.from_arrays(np.zeros((2, 1, 8, 8)), table, bands="r")
        assert cutouts.catalogue["objid"].tolist() == [70, 71] and cutouts.labels("class").tolist() == ["E", "S"]
    numbered = ssl.CutoutSet.from_arrays(np.zeros((2, 1, 8, 8)), frame.reset_index(drop=True), bands="r")
    assert numbered.catalogue.colnames == ["objid", "class"] and numbered.catalogue["objid"].tolist() == [0, 1]


def test_a_checksum_is_of_the_images_and_of_the_ids(blobs):
    other_ids = blobs.with_columns(objid=blobs.catalogue["objid"][::-1])
    other_images = ssl.CutoutSet.from_arrays(blobs.images[::-1], blobs.catalogue)
    assert len({one.checksum() for one in (blobs, other_ids, other_images)}) == 3
    pair, same_digits = (blobs[:2].with_columns(objid=ids) for ids in ([1, 23], [12, 3]))
    assert pair.checksum() != same_digits.checksum()


@pytest.mark.parametrize("shape", [(64, 96), (96, 64)])
def test_the_middle_of_an_image_is_kept_with_its_flux(tmp_path, shape):
    image, (y, x) = np.zeros(shape, "float32"), (side // 2 for side in shape)
    image[y - 8 : y + 8, x - 8 : x + 8] = 1
    image[:4, :4] = 50  # a neighbour in the corner
    fits.writeto(tmp_path / "one.fits", image)
    table = Table({"objid": [1]})
    kept = ssl.CutoutSet.from_image_files([tmp_path / "one.fits"], table, size=16, crop=0.5).images[0, 0]
    assert kept.sum() == pytest.approx(256, rel=0.01)
    np.testing.assert_allclose(kept, kept[::-1, ::-1], atol=1e-3)


def test_a_catalogue_may_be_a_data_frame(tmp_path):
    ids = [2**63 + 1, 7]
    frame = pd.DataFrame({"objid": np.array(ids, np.uint64), "class": ["STAR", None], "modelMag_r": [17.5, np.nan]})
    cutouts = ssl.CutoutSet.from_arrays(np.zeros((2, 1, 8, 8)), frame, bands="r")
    for one in (cutouts, ssl.CutoutSet.open(cutouts.save(tmp_path / "set"))):
        assert one.catalogue["objid"].tolist() == ids
        assert one.labelled("class").labels("class").tolist() == ["STAR"]
