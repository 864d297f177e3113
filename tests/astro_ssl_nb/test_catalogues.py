"""Tables of any kind become the catalogue of a CutoutSet, or are refused with what to do."""

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, Table

import astro_ssl_nb as ssl
from astro_ssl_nb.columns import unknown_values


def described(table, **card):
    return ssl.CutoutSet.from_arrays(np.zeros((len(table), 1, 8, 8)), table, bands="r", **card)


def test_capitals_do_not_hide_ids_and_positions():
    table = Table(
        {"OBJID": np.repeat(np.arange(40), 2), "RA": np.repeat(np.linspace(10, 50, 40), 2), "Dec": np.zeros(80)}
    )
    parts = described(table).split((0.5, 0.5))
    first, second = (set(part.catalogue["objid"]) for part in parts)
    assert not first & second and {"objid", "ra", "dec"} == set(parts[0].catalogue.colnames)
    assert table.colnames == ["OBJID", "RA", "Dec"], "the user's table stays as it is"
    both = described(Table({"objid": [7], "OBJID": [8]}))  # nobody knows which is meant but the one that is spelt so
    assert both.catalogue["objid"].tolist() == [7]


@pytest.mark.parametrize("unit", ["arcsec", "rad", "hourangle"])
def test_positions_in_another_unit_are_degrees_from_the_start(unit):
    places = MaskedColumn([10.0, 10.0 + 10 / 3600, 20.0], mask=[0, 0, 1], unit="deg")
    table = Table({"ra": [10.0, 10.0, 20.0] * u.deg})
    table["dec"] = MaskedColumn(places.quantity.to_value(unit), mask=places.mask, unit=unit)
    cutouts = described(table, pixel_scale=0.4)
    assert cutouts.catalogue["dec"].unit == "deg" and table["dec"].unit == unit
    np.testing.assert_allclose(cutouts.catalogue["dec"], [10.0, 10.0 + 10 / 3600, np.nan], rtol=1e-12)
    far, near = (described(table[:2], pixel_scale=scale) for scale in (0.4, 4.0))
    assert [len(part) for part in far.split((0.5, 0.5))] == [1, 1]
    with pytest.raises(ValueError, match="leaves 1 groups"):  # 10 arcsec apart, 32 wide
        near.split((0.5, 0.5))


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "boolean", "string"])
def test_a_new_column_may_be_of_any_type_of_pandas(dtype):
    new = pd.Series([1, 0, 1, None], index=[4, 5, 6, 7], dtype=dtype)
    column = described(Table({"objid": np.arange(4)})).with_columns(q=new).catalogue["q"]
    assert column.dtype.kind in "ifbU" and unknown_values(column).tolist() == [False, False, False, True]
    assert [str(value) for value in column[:3]] == [str(value) for value in new[:3]]


@pytest.mark.parametrize(
    "table",
    [
        np.array([(70, 0.5), (71, 0.6)], dtype=[("objid", "i8"), ("z", "f8")]),
        fits.BinTableHDU(Table({"objid": [70, 71], "z": [0.5, 0.6]})).data,
        {"objid": [70, 71], "z": [0.5, 0.6]},
        pd.DataFrame({"objid": [70, 71], "n": [1, 2], "z": [0.5, 0.6]}).set_index(["objid", "n"]),
        pd.DataFrame({"objid": [70, 71], "z": [0.5, 0.6]}).set_index("objid", drop=False),
    ],
    ids=["structured", "FITS_rec", "dict", "two indices", "index and column"],
)
def test_a_table_may_be_of_any_kind(table):
    cutouts = ssl.CutoutSet.from_arrays(np.zeros((2, 1, 8, 8)), table, bands="r")
    assert cutouts.catalogue["objid"].tolist() == [70, 71] and cutouts.catalogue["z"].tolist() == [0.5, 0.6]


def test_answers_about_a_fits_catalogue_are_an_index_that_pandas_can_use(learn, blobs):
    table = Table({"objid": np.arange(70, 73, dtype=">i8"), "z": np.arange(3, dtype=">f4")})
    cutouts = ssl.CutoutSet.from_arrays(blobs.images[:3], table)
    answers = ssl.Predictor.of(learn).predict(cutouts)
    assert answers.loc[71].equals(answers.iloc[1]) and answers.index.is_unique
    assert all(cutouts.catalogue[name].dtype.isnative for name in table.colnames)


def test_an_unknown_id_is_refused():
    with pytest.raises(ValueError, match="no objid in 2 rows, the first is row 3 of 4"):
        described(Table({"objid": MaskedColumn([11, 12, 13, 14], mask=[0, 0, 1, 1])}))
    with pytest.raises(ValueError, match="no objid in 1 rows"):
        described(Table({"objid": [1, 2]})).with_columns(objid=np.ma.masked_equal([5, 0], 0))


def test_ids_that_became_floats_are_whole_again_or_refused():
    assert described(pd.DataFrame({"objid": [7.0, 8.0]})).catalogue["objid"].tolist() == [7, 8]
    for lossy in (1237648720142401611.0, 0.5):
        with pytest.raises(ValueError, match="objid is a float, such as .* in row 2 of 2, which may have lost digits"):
            described(pd.DataFrame({"objid": [7.0, lossy]}))


@pytest.mark.parametrize("dtype", ["string", object, "category"])
def test_unknown_text_is_saved_as_unknown_text_however_pandas_holds_it(tmp_path, dtype):
    cutouts = described(pd.DataFrame({"objid": [1, 2, 3], "label": pd.Series(["a", None, "b"], dtype=dtype)}))
    more = cutouts.with_columns(answer=["x", None, "y"])
    again = ssl.CutoutSet.open(more.save(tmp_path / "set"))
    for name, known in (("label", ["a", "b"]), ("answer", ["x", "y"])):
        assert again.labelled(name).labels(name).tolist() == known
    joined = ssl.CutoutSet.concatenate([cutouts, described(Table({"objid": [4], "label": ["c"]}))])
    assert joined.catalogue["label"].tolist() == ["a", None, "b", "c"]


def test_whole_numbers_that_became_floats_are_the_same_classes():
    cutouts = described(Table({"objid": np.arange(4)}))
    whole, gap = cutouts.with_columns(label=[0, 1, 1, 0]), cutouts.with_columns(label=[0.0, 1.0, 1.0, np.nan])
    assert gap.labelled("label").labels("label").tolist() == whole.labels("label").tolist()[:3] == ["0", "1", "1"]
    assert cutouts.with_columns(label=[0.5, 1, 1, 0]).labels("label").tolist() == ["0.5", "1.0", "1.0", "0.0"]


def test_rows_that_were_numbered_are_known_as_such_after_a_selection(tmp_path):
    table = Table({"class": np.ma.masked_equal(["", "S", "E"], "")})
    one = described(table).labelled("class")
    kept = ssl.CutoutSet.open(one.save(tmp_path / "set"))
    with pytest.warns(UserWarning, match=r"rows of 2 sets were numbered for want of an id.*with_columns\(objid="):
        ssl.CutoutSet.concatenate([one, kept])
    ssl.CutoutSet.concatenate([one, kept.with_columns(objid=[10, 11])])
    ssl.CutoutSet.concatenate([described(Table({"objid": [0, 1]})), described(Table({"objid": [0, 1]}))])


def test_a_card_cannot_hide_the_format_of_the_files():
    with pytest.raises(ValueError, match="the card uses the entry `format` itself"):
        described(Table({"objid": [1]}), format="FITS")


def test_masked_images_in_a_list_are_unknown_where_they_are_masked():
    bad = np.ma.masked_equal([[[1.0, -9999.0], [1, 1]]], -9999.0)
    images = ssl.CutoutSet.from_arrays([bad, bad], Table({"objid": [1, 2]}), bands="r").images
    assert np.isnan(images).sum() == 2 and np.nanmin(images) == 1
