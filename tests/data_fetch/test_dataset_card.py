"""The card of a data set says what is in it, in words and pictures, and nothing that is not so."""

import re

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from PIL import Image

from astro_ssl_nb import CutoutSet
from astro_ssl_nb.set_files import write_card
from data_fetch.card_pictures import contact_sheet, sky_map
from data_fetch.dataset_card import write_dataset_card


def make_set(folder, *, n=12, classes=("GALAXY", "STAR"), columns=(), remove=(), **card):
    """A saved set of flux images; the classes take turns."""
    rng = np.random.default_rng(0)
    table = Table(
        {
            "objid": np.arange(n, dtype=np.uint64),
            "ra": rng.uniform(0, 360, n),
            "dec": rng.uniform(-90, 90, n),
            "modelMag_r": rng.uniform(15, 21, n),
            "redshift": MaskedColumn(rng.uniform(0, 1, n), mask=np.arange(n) == 3),
            "class": [classes[i % len(classes)] for i in range(n)],
            **dict(columns),
        }
    )
    table.remove_columns(list(remove))
    cutouts = CutoutSet.from_arrays(rng.normal(size=(n, 3, 16, 16)), table, bands="gri", **card)
    cutouts.save(folder)
    write_card(cutouts.card, folder)  # with what holds for a fetched set alone
    return folder


def pictures(folder):
    """Alt text of each picture that the card shows; each must be a PNG that opens."""
    shown = dict((name, alt) for alt, name in re.findall(r"!\[(.*?)\]\((.*?)\)", (folder / "README.md").read_text()))
    for name in shown:
        with Image.open(folder / name) as picture:
            assert picture.format == "PNG" and np.ptp(np.asarray(picture)) > 0
    return {name.removeprefix("card/").removesuffix(".png"): alt for name, alt in shown.items()}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "set"


def test_card_holds_the_facts(folder):
    make_set(
        folder, n=13, survey="SDSS", release=17, archive="sdss", data_set="sg: stars", date="2026-01-02",
        versions={"python": "3.11.7"}, checksums={"images.npy": "abc123"}, sql=["SELECT one", "SELECT two"],
    )  # fmt: skip
    path = write_dataset_card(folder)
    assert path == folder / "README.md"
    text = path.read_text()
    for fact in ("# sg: stars", "| bands | g r i |", "| pixel scale | 0.396 arcsec |", "16 x 16 pixels", "2026-01-02",
                 "python 3.11.7", "| GALAXY | 7 |", "| STAR | 6 |", "abc123", "python -m data_fetch verify",
                 "SELECT one", "SELECT two", "<details>", "SDSS-IV", "collaboration/citing-sdss/"):  # fmt: skip
        assert fact in text
    assert "simulated" not in text and "EFIGI" not in text and "Galaxy Zoo" not in text
    shown = pictures(folder)
    assert list(shown) == ["cutouts", "magnitude", "redshift", "sky"]
    assert "GALAXY" in shown["cutouts"] and all(shown.values())


def test_front_matter_is_yaml(folder):
    yaml = pytest.importorskip("yaml")
    make_set(folder, survey="SDSS")
    front = yaml.safe_load(write_dataset_card(folder).read_text().split("---\n")[1])
    assert front["task_categories"] == ["image-classification"] and front["size_categories"] == ["n<1K"]
    assert front["license"] == "other" and front["license_link"].startswith("https://www.sdss.org/")


@pytest.mark.parametrize(
    "card, said",
    [
        ({"expected": 12}, "as many as are here"),
        ({"expected": 14}, "14, **which is not the 12 that are here"),
        ({"request": {"name": "sg", "n": 14}}, "14, **but 12 are here"),
        ({"archive": "practice (seed 0)"}, "sky of this set is simulated"),
        ({"data_set": "ef4: galaxies"}, "Baillard et al. 2011"),
        ({"data_set": "mg: galaxies"}, "Lintott et al. 2008"),
        ({"survey": "SDSS", "release": 12}, "SDSS-III "),
        ({"survey": "SDSS", "release": "DR17"}, "SDSS-IV "),
        ({}, "names none: it was not fetched"),
    ],
)
def test_card_says_plainly(folder, card, said):
    make_set(folder, **card)
    assert said in write_dataset_card(folder).read_text()


def test_missing_objects_are_counted_by_reason(folder):
    make_set(folder)
    reasons = ["no frame | in r", "at the edge", "no frame | in r"]
    Table({"objid": [1, 2, 3], "reason": reasons}).write(folder / "missing.ecsv")
    text = write_dataset_card(folder).read_text()
    assert "3 have no image" in text
    assert text.index("| no frame \\| in r | 2 |") < text.index("| at the edge | 1 |")


def test_same_set_gives_same_text(tmp_path):
    texts = [write_dataset_card(make_set(tmp_path / name)).read_bytes() for name in "ab"]
    assert texts[0] == texts[1] == write_dataset_card(tmp_path / "a").read_bytes()


def test_set_without_classes_redshifts_and_positions(folder):
    make_set(folder, remove=("class", "redshift", "ra", "dec"))
    text = write_dataset_card(folder).read_text()
    assert list(pictures(folder)) == ["cutouts", "magnitude"]
    assert "12, without classes" in text and "image-feature-extraction" in text


def test_set_without_cutouts(folder, tmp_path):
    make_set(folder)
    empty = CutoutSet.open(folder)[[]].save(tmp_path / "empty")
    text = write_dataset_card(empty).read_text()
    assert "0 float32 images" in text and "16 x 16 pixels" in text and pictures(empty) == {}


def test_label_is_the_class_where_there_is_no_class(folder):
    make_set(folder, remove=("class",), columns={"label": ["a", "b", "b"] * 4})
    text = write_dataset_card(folder).read_text()
    assert "| b | 8 |" in text and "image-classification" in text


def test_values_that_nobody_knows(folder):
    unknown = np.full(12, True)
    make_set(
        folder,
        columns={
            "class": MaskedColumn(["a", "b"] * 6, mask=np.arange(12) < 4),
            "redshift": MaskedColumn(np.zeros(12), mask=unknown),
            "modelMag_r": np.full(12, 20.0),
        },
    )
    text = write_dataset_card(folder).read_text()
    assert "| (not known) | 4 |" in text and "| a | 4 |" in text
    assert list(pictures(folder)) == ["cutouts", "magnitude", "sky"]


@pytest.mark.parametrize("wild", [1e308, np.inf])
def test_numbers_that_are_no_redshifts_are_not_drawn(folder, wild):
    make_set(folder, columns={"redshift": np.r_[-wild, wild, np.full(10, 0.5)], "modelMag_r": np.full(12, wild)})
    write_dataset_card(folder)
    shown = pictures(folder)
    assert "magnitude" not in shown and "from 0.50 to 0.50. Medians: GALAXY 0.50, STAR 0.50." in shown["redshift"]


def test_class_that_is_not_a_number_is_not_known(folder):
    make_set(folder, columns={"class": np.where(np.arange(12) < 4, np.nan, 1.0)})
    assert "| (not known) | 4 |" in write_dataset_card(folder).read_text()


@pytest.mark.parametrize("n_classes", [15, 17])
def test_many_classes(folder, n_classes):
    make_set(folder, n=40, classes=[f"T{i:02}" for i in range(n_classes)])
    text = write_dataset_card(folder).read_text()
    assert text.count("| T") == 15
    assert list(pictures(folder)) == ["cutouts", "magnitude", "redshift", "sky"]
    assert ("15 largest of 17 classes" in text) == (n_classes == 17)
    assert ("| 2 other classes | 4 |" in text) == (n_classes == 17)


def test_pictures_of_ones_own(folder):
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 20, 30), dtype=np.uint8)
    table = Table({"file": list("abcde"), "class": ["<b>|", "$x", "[y]", "z", "z"]})
    CutoutSet.from_arrays(images, table, bands="RGB", pixel_scale=None, survey="image files").save(folder)
    text = write_dataset_card(folder).read_text()
    assert list(pictures(folder)) == ["cutouts"]
    assert "30 x 20 pixels" in text and "nanomaggies" not in text and "pixel scale | not known" in text
    assert "&lt;b>\\| | 1 |" in text and "SDSS:" not in text


def test_sky_map_has_right_ascension_grow_to_the_left(folder):
    cutouts = CutoutSet.open(make_set(folder, n=2, columns={"ra": [170.0, 200.0], "dec": [0.0, 0.0]}.items()))
    figure, _ = sky_map(cutouts, None, None)
    longitudes = np.degrees(figure.axes[0].collections[0].get_offsets()[:, 0])
    assert longitudes.tolist() == pytest.approx([10, -20])


def sheet(images, bands):
    """The pixels of a contact sheet of a set without classes."""
    cutouts = CutoutSet.from_arrays(images, Table({"objid": np.arange(len(images))}), bands=bands)
    figure, _ = contact_sheet(cutouts, np.full(len(images), "all"), ["all"])
    return np.asarray(figure.axes[0].images[0].get_array())


def test_contact_sheet_goes_from_the_first_object_to_the_last():
    images = np.tile(np.arange(0, 200, 2, np.uint8)[:, None, None, None], (1, 3, 8, 8))
    shown = sheet(images, "RGB")[::9, ::9, 0].ravel()[:24]  # with a gap of one pixel
    assert (shown[0], shown[-1]) == (0, pytest.approx(198 / 255)) and (np.diff(shown) > 0).all()


@pytest.mark.parametrize(("bands", "dtype", "row"), [("gri", np.float32, 23), ("RGB", np.uint8, 0)])
def test_contact_sheet_has_the_first_row_of_a_picture_on_top_and_that_of_fluxes_below(bands, dtype, row):
    images = np.zeros((1, 3, 24, 24), dtype)
    images[:, :, 0] = 50
    assert sheet(images, bands)[:24, :24].sum((1, 2)).argmax() == row


def test_card_replaces_its_own_but_no_other_readme(folder):
    make_set(folder)
    write_dataset_card(folder)
    write_dataset_card(folder)
    (folder / "README.md").write_text("my notes")
    with pytest.raises(FileExistsError, match="written by somebody else"):
        write_dataset_card(folder)
    assert (folder / "README.md").read_text() == "my notes"


def test_no_set_no_card(tmp_path):
    with pytest.raises(FileNotFoundError, match="not a complete CutoutSet"):
        write_dataset_card(tmp_path)


def test_needs_no_display_and_leaves_matplotlib_alone(folder, monkeypatch):
    def fail(*_, **__):
        raise ImportError("there is no display")

    monkeypatch.setattr(plt, "switch_backend", fail)
    monkeypatch.setattr(plt, "figure", fail)
    before = matplotlib.rcParams.copy()
    write_dataset_card(make_set(folder))
    assert "sky" in pictures(folder)
    assert matplotlib.rcParams.copy() == before
