"""Which objects are drawn: the same for everybody, as many of each class from each field, and none that is excluded."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table, vstack

import data_fetch
from astro_ssl_nb.cutouts import CutoutSet
from data_fetch.catalogues import DATA_SETS
from data_fetch.draws import Excluded
from data_fetch.plans import fields_of


def test_object_with_two_spectra_is_in_one_class(archive, monkeypatch):
    query, stars = archive.query, []

    def answer(sql, **options):
        table = query(sql, **options)
        if "'STAR'" in sql and len(table):
            stars.append(table.copy())
            stars[-1].replace_column("class", ["GALAXY"] * len(table))
        return vstack([stars[0], table]) if "'GALAXY'" in sql and len(table) else table

    monkeypatch.setattr(archive, "query", answer)
    catalogue = data_fetch.plan("sg", archive=archive, n=40).catalogue
    assert np.isin(stars[0]["objID"], catalogue["objid"]).any()
    assert sorted(catalogue["class"]) == ["GALAXY"] * 20 + ["STAR"] * 20 and len(set(catalogue["objid"])) == 40


def test_sets_of_one_seed_share_fields_and_another_seed_takes_others(archive, tmp_path):
    def fields(name, n, seed):
        catalogue = data_fetch.plan(name, archive=archive, n=n, seed=seed).catalogue
        return set(zip(catalogue["run"], catalogue["camcol"], catalogue["field"], strict=True))

    assert fields("sg", 20, seed=0) <= fields("sgq", 60, seed=0) | fields("pretext", 400, seed=0)
    assert not fields("pretext", 40, seed=0) & fields("pretext", 40, seed=7)


@pytest.mark.parametrize("name, larger", [("pretext", 900), ("sg", 240), ("sgq", 240)])
def test_smaller_sets_are_the_start_of_larger_ones(archive, name, larger):
    few, many = (data_fetch.plan(name, archive=archive, n=n).catalogue["objid"] for n in (60, larger))
    assert set(few) <= set(many)


@pytest.mark.parametrize("name", ["sg", "sgq", "mg"])
def test_a_field_tells_nothing_of_the_class(archive, name):
    catalogue = data_fetch.plan(name, archive=archive, n=60).catalogue
    classes, counts = np.unique(catalogue["class"], return_counts=True)
    assert len(classes) == len(DATA_SETS[name].classes) and (counts == 60 // len(classes)).all()
    for rows in fields_of(catalogue):
        assert len(set(np.unique(catalogue["class"][rows], return_counts=True)[1])) == 1
        assert set(catalogue["class"][rows]) == set(classes)


def test_excluded_objects_and_their_surroundings_are_left_out(sgq, archive, practice, tmp_path, command):
    out, excluded = sgq
    arguments = ("pretext", "--archive", practice.url, "--n", 200, "--out", tmp_path / "pretext", "--plan")
    plain = data_fetch.plan("pretext", archive=archive, n=200).catalogue
    assert np.isin(plain["objid"], excluded.catalogue["objid"]).any()
    chosen = data_fetch.plan("pretext", archive=archive, n=200, exclude=[out])
    assert not np.isin(chosen.catalogue["objid"], excluded.catalogue["objid"]).any()
    where, others = (SkyCoord(table["ra"], table["dec"]) for table in (chosen.catalogue, excluded.catalogue))
    # Squares of 32 pixels that are turned against each other may touch at the corners.
    assert where.match_to_catalog_sky(others)[1].min() > np.sqrt(2) * 32 * 0.396 * u.arcsec
    by_id = chosen.catalogue.meta["excluded"]["by id"]
    assert by_id > 0
    assert f"overlap   {by_id} objects of the excluded sets" in command(*arguments, "--exclude", out).out


def test_excluded_sets_have_their_own_width_and_need_no_units(archive, tmp_path):
    plain = data_fetch.plan("pretext", archive=archive, n=200).catalogue
    table = Table({"objid": [1], "ra": [float(plain["ra"][0])], "dec": [float(plain["dec"][0])]})
    for pixels, scale in ((100, 1.0), (10, None)):
        out = tmp_path / f"{pixels}"
        CutoutSet.from_arrays(np.zeros((1, 1, pixels, pixels)), table, bands="r", pixel_scale=scale).save(out)
        chosen = data_fetch.plan("pretext", archive=archive, n=200, exclude=[out]).catalogue
        where, middle = SkyCoord(chosen["ra"], chosen["dec"]), SkyCoord(plain["ra"][0], plain["dec"][0], unit="deg")
        reach = np.sqrt(2) * (32 * 0.396 + pixels * (scale or 0.396)) / 2
        assert where.separation(middle).min() > reach * u.arcsec
        assert chosen.meta["excluded"]["by position"] > 0


def test_object_that_is_met_by_its_id_is_not_counted_by_its_position_too(tmp_path):
    at = Table({"objid": [7, 8, 9], "ra": [10.0, 10.0, 11.0] * u.deg, "dec": [0.0, 0.0, 0.0] * u.deg})
    CutoutSet.from_arrays(np.zeros((1, 1, 8, 8)), at[:1], bands="r").save(tmp_path / "set")
    excluded = Excluded([tmp_path / "set"], 32)
    assert list(excluded.remove(at)["objid"]) == [9]
    assert excluded.counts == {"by id": 1, "by position": 1}


def test_only_the_objects_themselves_are_excluded_where_their_ids_are_signed(archive, tmp_path):
    ids = np.asarray(data_fetch.plan("pretext", archive=archive, n=900).catalogue["objid"][::10]).astype(np.int64)
    assert ids.min() > 2**53  # as floats, neighbours are equal
    table = Table({"objid": ids, "ra": np.full(90, 10.0), "dec": np.full(90, 80.0)})
    CutoutSet.from_arrays(np.zeros((90, 1, 8, 8)), table, bands="r").save(tmp_path / "set")
    chosen = data_fetch.plan("pretext", archive=archive, n=600, exclude=[tmp_path / "set"]).catalogue
    assert 0 < chosen.meta["excluded"]["by id"] <= 90 and chosen.meta["excluded"]["by position"] == 0
    assert not set(ids.tolist()) & set(chosen["objid"].tolist())
