"""The catalogue of the practice sky against what surveys found in the real one."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_predict

from data_fetch.practice.instrument import BANDS, N_COLUMNS, N_ROWS, PIXEL_SCALE, Observation
from data_fetch.practice.photometry import measure
from data_fetch.practice.populations import MARGIN, populate
from data_fetch.practice.templates import quasar_colours

POPULATED_AREA = (N_COLUMNS + 2 * MARGIN) * (N_ROWS + 2 * MARGIN) * (PIXEL_SCALE / 3600) ** 2


@pytest.fixture(scope="module")
def truths():
    return [populate(Observation(0, 9101 + i, 1 + i % 6, 11 + i)) for i in range(24)]


def magnitudes(truths, kind):
    return np.concatenate([22.5 - 2.5 * np.log10(truth.total[truth.kind == kind]) for truth in truths])


# Galaxies per square degree and half magnitude. r = 17.75: 92 a square degree brighter than 17.77 (Strauss et al. 2002)
# with the slope of Yasuda et al. 2001, AJ 122, 1104; fainter ones approximate, 10^2.8, 10^3.2 and 10^3.75 a magnitude.
@pytest.mark.parametrize("r, expected", [(17.75, 58), (19.25, 315), (20.25, 800), (21.75, 2800)])
def test_galaxy_counts(truths, r, expected):
    counted = np.sum(np.abs(magnitudes(truths, "GALAXY")[:, 2] - r) < 0.25) / POPULATED_AREA / len(truths)
    assert 1 / 1.5 < counted / expected < 1.5


def test_star_counts_at_high_latitude(truths):
    """About 2,000 to 3,500 stars a square degree to r = 21 towards the Galactic cap (Juric et al. 2008, figure 2)."""
    counted = np.sum(magnitudes(truths, "STAR")[:, 2] < 21) / POPULATED_AREA / len(truths)
    assert 1500 < counted < 5000


def test_stars_lie_on_the_stellar_locus(truths):
    u, g, r, i, z = magnitudes(truths, "STAR").T
    giants = (g - r > 0.2) & (g - r < 1.1)
    # Covey et al. 2007: medians of r-i at g-r = 0.4, 0.8, 1.0
    for g_r, r_i in ((0.4, 0.14), (0.8, 0.29), (1.0, 0.38)):
        near = np.abs(g - r - g_r) < 0.05
        assert np.median((r - i)[near]) == pytest.approx(r_i, abs=0.03)
    assert 0.85 < np.median((u - g)[np.abs(g - r - 0.28) < 0.06]) < 1.1  # the halo turn-off
    assert 2.3 < np.median((u - g)[g - r > 1.2]) < 2.7  # M dwarfs
    assert np.std((r - i - np.interp(g - r, [0.2, 0.6, 1.1], [0.06, 0.22, 0.43]))[giants]) < 0.08


def test_quasars_cross_the_stellar_locus_near_redshift_2_7():
    redshift = np.array([1.5, 2.7, 4.2])
    colours = -np.diff(quasar_colours(redshift, np.ones(3), np.zeros(3), np.zeros(3)), axis=1)
    assert colours[0, 0] < 0.4  # ultraviolet excess (Richards et al. 2001: u-g = 0.1 to 0.3)
    assert 0.4 < colours[1, 0] < 1.2 and abs(colours[1, 1]) < 0.3  # as A and F stars
    assert colours[2, 0] > 2.0 and colours[2, 1] > 0.9  # u dropouts


def test_galaxies_are_bimodal_in_colour(truths):
    """Strateva et al. 2001, AJ 122, 1861: the two sequences part near u-r = 2.2."""
    near = np.concatenate([t.redshift[t.kind == "GALAXY"] for t in truths])
    mags = magnitudes(truths, "GALAXY")
    bright = (mags[:, 2] < 19.5) & (near < 0.25)
    u_r = mags[bright, 0] - mags[bright, 2]
    counts, _ = np.histogram(u_r, [1.2, 1.6, 2.0, 2.4, 2.8, 3.2])
    assert 0.25 < np.mean(u_r > 2.2) < 0.75
    assert np.std(u_r) > 0.45 and counts.min() > 0


def test_bulges_are_redder_than_disks(truths):
    difference = []
    for truth in truths:
        bulge, disk, total = (part[:, 1:3] for part in (truth.bulge, truth.disk, truth.total))
        both = (truth.kind == "GALAXY") & (bulge[:, 1] > 0.2 * total[:, 1]) & (disk[:, 1] > 0.2 * total[:, 1])
        colours = [2.5 * np.log10(part[both, 1] / part[both, 0]) for part in (bulge, disk)]
        difference.append(colours[0] - colours[1])
    assert np.median(np.concatenate(difference)) > 0.15


def test_a_field_holds_enough(small_tables):
    photo, spectra = small_tables["PhotoObj"], small_tables["SpecObj"]
    n_fields = len(small_tables["Field"])
    good = (photo["mode"] == 1) & (photo["clean"] == 1) & (photo["modelMag_r"] < 21.5)
    assert good.sum() / n_fields > 250
    for label, most in (("STAR", 30), ("GALAXY", 50), ("QSO", 30)):  # bright galaxies come on top
        assert 26 <= np.sum(spectra["class"] == label) / n_fields <= most
    assert 0.005 < np.mean(spectra["zWarning"] != 0) < 0.08
    assert set(spectra["bestObjID"]) <= set(photo["objID"][photo["mode"] == 1])
    assert len(set(photo["objID"])) == len(photo) and len(set(spectra["specObjID"])) == len(spectra)


def test_magnitude_errors_are_honest(small_sky):
    """Scatter of bright and faint point sources about the truth is what psfMagErr says."""
    deviations = []
    for observation in small_sky.observations()[:8]:
        columns, members, truth = measure(observation)
        stars = (truth.kind[members] == "STAR") & (columns["clean"] == 1)
        for index, band in enumerate("gri", start=1):
            true = 22.5 - 2.5 * np.log10(truth.total[members, index])
            error = columns[f"psfMagErr_{band}"]
            alone = stars & (columns["flags"] & 16 == 0) & (error < 0.1)
            deviations.append((columns[f"psfMag_{band}"] - true)[alone] / error[alone])
    deviations = np.concatenate(deviations)
    spread = np.diff(np.percentile(deviations, [16, 84]))[0] / 2
    assert abs(np.median(deviations)) < 0.1 and 0.85 < spread < 1.15


def test_star_galaxy_separation_errs_at_the_faint_end(small_sky):
    wrong, magnitude = [], []
    for observation in small_sky.observations()[:12]:
        columns, members, truth = measure(observation)
        plain = truth.kind[members] != "QSO"
        wrong.append(((columns["type"] == 3) != (truth.kind[members] == "GALAXY"))[plain])
        magnitude.append(columns["modelMag_r"][plain])
    wrong, magnitude = np.concatenate(wrong), np.concatenate(magnitude)
    assert np.mean(wrong[magnitude < 20]) < 0.05  # Stoughton et al. 2002: 95 % right at r = 21
    assert 0.05 < np.mean(wrong[(magnitude > 21.5) & (magnitude < 22.5)]) < 0.35


def test_detection_is_complete_to_the_published_limit(small_sky):
    """95 % of stars at r = 22.2 (Abazajian et al. 2009), averaged over seeing; few of those at r = 23."""
    found, magnitude = [], []
    for observation in small_sky.observations()[:12]:
        _, members, truth = measure(observation)
        inside = (
            (np.abs(truth.x - N_COLUMNS / 2) < 1000) & (np.abs(truth.y - N_ROWS / 2) < 720) & (truth.kind == "STAR")
        )
        blue = inside & (truth.total[:, 3] < 1.35 * truth.total[:, 2])  # red stars are found in i long after r gave up
        found.append(np.isin(np.flatnonzero(blue), members))
        magnitude.append(22.5 - 2.5 * np.log10(truth.total[blue, 2]))
    found, magnitude = np.concatenate(found), np.concatenate(magnitude)
    assert np.mean(found[(magnitude > 21.0) & (magnitude < 22.0)]) > 0.85
    assert np.mean(found[magnitude > 22.7]) < 0.4


def test_seeing_is_that_of_the_survey(small_tables):
    width = np.array([small_tables["Field"][f"psfWidth_{band}"] for band in BANDS])
    assert 0.8 < width.min() and width.max() < 2.5
    assert 1.1 < np.median(width[2]) < 1.55  # median 1.32 arcsec in r (Abazajian et al. 2009)
    assert np.median(width[0]) > np.median(width[3])


def test_what_cannot_be_measured_is_minus_9999(small_tables):
    photo = small_tables["PhotoObj"]
    missing = photo["petroRad_r"] == -9999
    assert 0.005 < missing.mean() < 0.3
    assert np.median(photo["modelMag_r"][missing]) > 21.5
    assert 0 < np.mean(photo["modelMag_u"] == -9999) < 0.02


def test_classes_are_hard_to_tell_apart_but_not_impossible(small_tables):
    """A gradient-boosted classifier on all magnitudes, shapes and colours, faint objects, three classes."""
    photo, spectra = small_tables["PhotoObj"], small_tables["SpecObj"]
    order = np.searchsorted(photo["objID"], spectra["bestObjID"])
    rows = photo[order]
    kinds = ("psfMag_", "modelMag_", "petro", "exp", "deV", "fracDeV", "type")
    columns = [np.asarray(rows[name], float) for name in rows.colnames if name.startswith(kinds)]
    columns += [rows[f"psfMag_{a}"] - rows[f"psfMag_{b}"] for a, b in zip("ugri", "griz", strict=True)]
    columns += [rows["psfMag_r"] - rows["modelMag_r"]]
    features, label = np.column_stack(columns), np.asarray(spectra["class"])
    predicted = cross_val_predict(HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=15), features, label, cv=2)
    faint = (rows["modelMag_r"] > 20) & (spectra["zWarning"] == 0)
    right = predicted == label
    assert 0.80 < np.mean(right[faint]) < 0.985
    hot = faint & (label != "GALAXY") & (rows["psfMag_g"] - rows["psfMag_r"] < 0.4)
    assert np.mean(right[hot]) < 0.97
