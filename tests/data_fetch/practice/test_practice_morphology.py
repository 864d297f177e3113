"""Nearby galaxies of the practice sky through the protocols: types, votes, mergers, and what the pixels show."""

import bz2
import io

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astroquery.vizier import VizierClass
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_predict

from data_fetch.practice import SimulatedSky
from data_fetch.practice.photometry import measure
from data_fetch.practice.populations import populate
from data_fetch.practice.render import draw_objects, render_frame

EFIGI = "J/A+A/532/A74"


class LoopbackVizier(VizierClass):
    """astroquery's own class, but for the scheme that it hard-codes."""

    def _server_to_url(self, return_type="votable"):
        return f"http://{self.VIZIER_SERVER}/viz-bin/{return_type}"


def vizier(practice, *columns, row_limit=-1):
    server = practice.url.removeprefix("http://")
    return LoopbackVizier(columns=list(columns), row_limit=row_limit, vizier_server=server)


def test_astroquery_reads_efigi(practice, small_tables):
    (table,) = vizier(practice, "PGCname", "RAJ2000", "DEJ2000", "T", "e_T", "E_T").get_catalogs(EFIGI)
    assert table.meta["name"] == f"{EFIGI}/efigi" and table["RAJ2000"].unit == u.deg
    assert table.colnames == ["PGCname", "RAJ2000", "DEJ2000", "T", "e_T", "E_T"]
    assert len(set(table["PGCname"])) == len(table) > 80
    assert table["T"].min() >= -6 and table["T"].max() <= 11
    photo = small_tables["PhotoObj"]
    photo = photo[photo["mode"] == 1]
    index, distance, _ = SkyCoord(table["RAJ2000"], table["DEJ2000"]).match_to_catalog_sky(
        SkyCoord(photo["ra"], photo["dec"], unit="deg")
    )
    assert distance.max() < 0.2 * u.arcsec
    rows = photo[index]
    assert np.mean(rows["type"] == 3) > 0.98 and np.mean(rows["clean"]) > 0.9
    assert np.all((rows["modelMag_r"] > 12.5) & (rows["modelMag_r"] < 18.2))
    assert np.all((rows["petroR50_r"] > 0.9) & (rows["petroR90_r"] > 1.5 * rows["petroR50_r"]))


def test_vizier_limits_rows_and_refuses_constraints(practice):
    (table,) = vizier(practice, "T", row_limit=3).get_catalogs(EFIGI)
    assert table.colnames == ["T"] and len(table) == 3
    assert len(vizier(practice, "*").get_catalogs("J/none")) == 0
    client = vizier(practice, "*")
    client.column_filters = {"T": ">3"}
    assert client.get_catalogs_async(EFIGI).status_code == 400


def test_galaxy_zoo_votes_add_up(astroquery_sdss):
    table = astroquery_sdss.query_sql(
        "SELECT z.*, p.petroR50_r, s.class AS class FROM zooSpec AS z JOIN PhotoObj AS p ON p.objID = z.objid "
        "JOIN SpecObj AS s ON s.specObjID = z.specobjid",
        cache=False,
    )
    assert set(table["class"]) == {"GALAXY"} and table["objid"].dtype == np.uint64
    names = ["p_el", "p_cw", "p_acw", "p_edge", "p_dk", "p_mg"]
    np.testing.assert_allclose(sum(table[name] for name in names), 1, atol=1e-6)
    np.testing.assert_allclose(table["p_cs"], table["p_cw"] + table["p_acw"] + table["p_edge"], atol=1e-6)
    assert np.all(table["spiral"] + table["elliptical"] + table["uncertain"] == 1)
    assert 25 <= table["nvote"].min() and table["nvote"].max() <= 62
    assert 0.2 < np.mean(table["uncertain"]) < 0.9
    small = table["petroR50_r"] < np.percentile(table["petroR50_r"], 30)
    assert np.mean(table["p_dk"][small]) > np.mean(table["p_dk"][~small])


def test_people_see_most_mergers_and_not_all(small_sky, small_tables):
    votes = small_tables["zooSpec"]
    share = dict(zip(votes["objid"].tolist(), votes["p_mg"].tolist(), strict=True))
    merging, single = [], []
    for observation in small_sky.observations():
        columns, members, truth = measure(observation)
        for objid, merger in zip(columns["objID"].tolist(), truth.merger[members], strict=True):
            if objid in share:
                (merging if merger else single).append(share[objid])
    assert len(merging) > 50
    assert 0.5 < np.mean(np.array(merging) > 0.4) < 0.95
    assert np.mean(np.array(single) > 0.4) < 0.02


@pytest.fixture(scope="module")
def measured():
    """Type, merger flag, colour, concentration and asymmetry of nearby galaxies, from noisy g and r pixels."""
    rows = []
    for observation in SimulatedSky(seed=1, n_runs=1, fields_per_camcol=7).observations()[:40]:
        truth = populate(observation)
        images = {}
        near = truth.t_type != 99
        for name in vars(truth):
            setattr(truth, name, getattr(truth, name)[near])
        for index, band in ((1, "g"), (2, "r")):
            clear = draw_objects(observation, truth, band)
            noise = observation.rng("test", band).standard_normal(clear.shape)
            images[band] = clear + noise * np.sqrt(observation.pixel_variance[index])
        for i in range(len(truth)):
            x, y = int(round(truth.x[i])), int(round(truth.y[i]))
            if 40 < x < 2000 and 40 < y < 1440:
                g, r = (images[b][y - 32 : y + 33, x - 32 : x + 33] for b in "gr")
                rows.append((truth.t_type[i], truth.merger[i], *look(g, r)))
    return np.array(rows, float)


def look(g, r):
    """(g-r inside 6 arcsec, light inside 1.6 over 5 arcsec, 180-degree asymmetry, flattening)."""
    y, x = np.mgrid[-32:33, -32:33]
    radius = np.hypot(x, y)
    flux = lambda image, limit: max(image[radius < limit].sum(), 1e-3)  # noqa: E731
    body = radius < 24
    weight = np.maximum(r, 0) * body
    xx, yy, xy = ((weight * m).sum() / weight.sum() for m in (x * x, y * y, x * y))
    flattening = np.hypot(xx - yy, 2 * xy) / (xx + yy)
    asymmetry = np.abs(r - r[::-1, ::-1])[body].sum() / np.abs(r)[body].sum()
    return -2.5 * np.log10(flux(g, 15) / flux(r, 15)), flux(r, 4) / flux(r, 13), asymmetry, flattening


def test_types_can_be_told_from_pixels_but_not_perfectly(measured):
    single = measured[(measured[:, 1] == 0) & (measured[:, 0] != 11)]
    group = np.digitize(single[:, 0], [-3, 0, 10])  # E, S0, S, Irr
    forest = RandomForestClassifier(200, class_weight="balanced", random_state=0)
    predicted = cross_val_predict(forest, single[:, 2:], group, cv=4)
    recall = np.mean([np.mean(predicted[group == k] == k) for k in range(4)])
    assert 0.45 < recall < 0.95  # chance is 0.25


def test_mergers_are_more_asymmetric(measured):
    merger = measured[:, 1] == 1
    assert np.median(measured[merger, 4]) > 1.3 * np.median(measured[~merger, 4])


def test_late_types_are_bluer(measured):
    single = measured[:, 1] == 0
    colour = [np.median(measured[single & (measured[:, 0] >= a) & (measured[:, 0] <= b), 2]) for a, b in
              ((-6, -4), (1, 3), (5, 7), (9, 10))]  # fmt: skip
    assert colour == sorted(colour, reverse=True) and colour[0] - colour[-1] > 0.3


def test_a_frame_holds_them_with_their_light(small_sky):
    """Aperture flux in a served r frame against the flux of the catalogue, all bright nearby galaxies of a field."""
    observation = small_sky.observations()[0]
    frame = fits.open(io.BytesIO(bz2.decompress(render_frame(observation, "r"))))[0].data
    truth = populate(observation)
    near = (
        (truth.t_type != 99) & (truth.total[:, 2] > 60) & (np.abs(truth.x - 1024) < 900) & (np.abs(truth.y - 744) < 650)
    )
    assert near.sum() >= 3
    y, x = np.mgrid[: frame.shape[0], : frame.shape[1]]
    for i in np.flatnonzero(near):
        inside = np.hypot(x - truth.x[i], y - truth.y[i]) < 60
        others = np.hypot(truth.x - truth.x[i], truth.y - truth.y[i]) < 60
        # the envelope of the widest reaches further
        assert 0.6 < frame[inside].sum() / truth.total[others, 2].sum() < 1.15
