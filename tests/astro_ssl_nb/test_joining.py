import pickle

import numpy as np
import pytest
from astropy.table import Table

import astro_ssl_nb as ssl


def test_sets_of_several_folders_are_one_set(blobs, tmp_path):
    folders = [blobs[rows].save(tmp_path / name) for name, rows in (("a", slice(0, 90)), ("b", slice(90, 200)))]
    joined = ssl.CutoutSet.concatenate([*map(ssl.CutoutSet.open, folders), blobs[200:][::-1]])
    order = np.r_[:200, len(blobs) - 1 : 199 : -1]
    np.testing.assert_array_equal(joined.images, blobs.images[order])
    np.testing.assert_array_equal(joined.read([210, 5, 95, 5]), blobs.images[order[[210, 5, 95, 5]]])
    assert joined.catalogue["objid"].tolist() == blobs.catalogue["objid"][order].tolist()
    assert joined.catalogue["modelMag_u"].unit == "mag" and joined.catalogue["modelMag_u"].mask.any()
    assert joined[50:200:7].checksum() == blobs[50:200:7].checksum()
    again = ssl.CutoutSet.open(joined.save(tmp_path / "whole"))
    assert again.checksum() == joined.checksum() == ssl.CutoutSet.concatenate([joined]).checksum()


def test_a_joined_set_travels_as_paths_and_notices_a_changed_file(blobs, tmp_path):
    parts = [ssl.CutoutSet.open(blobs[k::2].save(tmp_path / str(k))) for k in (0, 1)]
    joined = ssl.CutoutSet.concatenate(parts)
    sent = pickle.dumps(joined)
    assert len(sent) < 0.5 * blobs.images.nbytes and pickle.loads(sent).checksum() == joined.checksum()
    np.save(tmp_path / "1" / "images.npy", blobs.images[1::2] + 1)
    joined.read([0])  # of the other
    with pytest.raises(RuntimeError, match=r"images\.npy has changed since it was opened"):
        joined.read([len(joined) - 1])


def test_a_joined_set_says_where_its_parts_are_from():
    images, cards = np.zeros((1, 1, 8, 8)), [{"survey": "SDSS", "sql": "a", "missing": 3}, {"survey": "SDSS"}]
    tables = Table({"objid": [1], "petroMag_r": [17.5]}), Table({"objid": [1], "class": ["E"]})
    one, two = (
        ssl.CutoutSet.from_arrays(images, table, bands="r", **card) for table, card in zip(tables, cards, strict=True)
    )
    joined = ssl.CutoutSet.concatenate([one, two])
    assert joined.card == {"bands": ["r"], "pixel_scale": 0.396, "survey": "SDSS", "parts": [{"sql": "a"}, {}]}
    assert joined.catalogue["petroMag_r"].tolist() == [17.5, None]
    assert len(joined.labelled("class")) == 1
    assert [len(part) for part in ssl.CutoutSet.concatenate([joined, two]).labelled("class").split((1,))] == [2]


def test_sets_that_do_not_fit_together_are_refused():
    def made(n_bands=1, size=8, kind=float, unit=None, objid=1, **options):
        table = Table({"objid": [objid], "petroMag_r": [17.0]}, units={"petroMag_r": unit})
        options = {"bands": "ri"[:n_bands]} | options
        return ssl.CutoutSet.from_arrays(np.zeros((1, n_bands, size, size), kind), table, **options)

    refused = {
        "nothing to join": [],
        "bands of set 1 and set 3 differ, r and r i": [made(), made(), made(n_bands=2)],
        r"sizes in pixels of set 1 and set 2 differ, \(8, 8\) and \(9, 9\)": [made(), made(size=9)],
        "pixel scales of set 1 and set 2 differ, 0.396 and None": [made(), made(pixel_scale=None)],
        "kinds of images of set 1 and set 2 differ, fluxes and pictures": [
            made(3, bands="RGB"),
            made(3, kind=np.uint8, bands="RGB"),
        ],
        "'petroMag_r' is in mag in set 1 and in Jy in set 2": [made(unit="mag"), made(unit="Jy")],
        "objid": [made(), made(objid="a")],
    }
    for match, sets in refused.items():
        with pytest.raises(ValueError, match=match):
            ssl.CutoutSet.concatenate(sets)
    assert len(ssl.CutoutSet.concatenate([made(unit="mag"), made()])) == 2


def one_row(objid=1, **columns):
    return ssl.CutoutSet.from_arrays(
        np.zeros((1, 1, 8, 8)),
        Table({"objid": [objid]} | {name: [value] for name, value in columns.items()}),
        bands="r",
    )


def test_ids_stay_whole_numbers_whatever_integers_the_sets_have():
    first = 1237648720693755918  # as a float, this and its neighbours are one number
    kinds = (np.uint64, np.int64, np.int32)
    ids = (np.uint64(first), np.int64(first + 1), np.int32(7))
    joined = ssl.CutoutSet.concatenate([one_row(kind(objid)) for kind, objid in zip(kinds, ids, strict=True)])
    assert joined.catalogue["objid"].tolist() == [first, first + 1, 7]
    with pytest.raises(ValueError, match="'objid' goes below 0 in set 2"):
        ssl.CutoutSet.concatenate([one_row(np.uint64(first)), one_row(np.int64(-1))])


def test_units_are_compared_with_whichever_set_names_one_first():
    sets = [one_row(), one_row(petroR50_r=2.0), one_row(petroR50_r=2.0), one_row(petroR50_r=2.0)]
    sets[2].catalogue["petroR50_r"].unit, sets[3].catalogue["petroR50_r"].unit = "arcsec", "arcmin"
    with pytest.raises(ValueError, match="'petroR50_r' is in arcsec in set 3 and in arcmin in set 4"):
        ssl.CutoutSet.concatenate(sets)
    assert ssl.CutoutSet.concatenate(sets[:3]).catalogue["petroR50_r"].tolist() == [None, 2, 2]
    assert sets[1].catalogue["petroR50_r"].unit is None, "joining changes nothing in its parts"


def test_rows_that_were_numbered_for_want_of_an_id_are_spoken_of():
    images, table = np.zeros((3, 1, 8, 8)), Table({"class": ["E", "S", "E"]})
    numbered = [ssl.CutoutSet.from_arrays(images, table, bands="r") for _ in range(2)]
    with pytest.warns(UserWarning, match=r"rows of 2 sets were numbered for want of an id.*with_columns\(objid="):
        joined = ssl.CutoutSet.concatenate(numbered)
    assert [len(part) % 2 for part in joined.split((0.5, 0.5))] == [0, 0], "equal ids stay together"
    ssl.CutoutSet.concatenate([numbered[0], numbered[1].with_columns(objid=[10, 11, 12])])


def test_cards_that_hold_arrays_are_compared():
    sets = [
        ssl.CutoutSet.from_arrays(np.zeros((1, 2, 8, 8)), Table({"objid": [k]}), bands=bands, zero=np.array([22, k]))
        for k, bands in ((5, "ri"), (6, ("r", "i")))
    ]
    same, other = (ssl.CutoutSet.concatenate(some).card for some in ([sets[0], sets[0]], sets))
    assert list(same["zero"]) == [22, 5] and same["parts"] == [{}, {}]
    assert [list(part["zero"]) for part in other["parts"]] == [[22, 5], [22, 6]] and other["bands"] == ["r", "i"]
