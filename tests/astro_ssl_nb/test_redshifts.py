import numpy as np
import pytest
from astropy.table import MaskedColumn

import astro_ssl_nb as ssl


def test_scores_of_a_handful_worked_out_by_hand():
    z = np.array([0.0, 0.0, 1.0, 1.0, 0.0])
    dz = np.array([0.0, 0.01, 0.02, 0.03, 0.2])
    scores = ssl.photoz_scores(z, z + dz * (1 + z))
    assert scores["bias"] == pytest.approx(0.052)  # the mean; the median is 0.02
    assert scores["sigma_mad"] == pytest.approx(
        1.4826 * 0.01, rel=1e-5
    )  # about the median; about 0 it would be twice that
    assert scores["outlier_rate"] == pytest.approx(0.2)
    assert (scores["n"], scores["n_unknown"]) == (5, 0)


def test_sigma_mad_is_the_sigma_of_a_gaussian_and_ignores_failures():
    rng = np.random.default_rng(0)
    z = rng.uniform(0, 0.4, 2000)
    predicted = z + 0.01 * rng.normal(size=2000) * (1 + z)
    assert ssl.photoz_scores(z, predicted)["sigma_mad"] == pytest.approx(0.01, rel=0.1)
    predicted[:100] += 3
    failed = ssl.photoz_scores(z, predicted)
    assert failed["sigma_mad"] == pytest.approx(0.01, rel=0.15)
    assert failed["outlier_rate"] == pytest.approx(0.05, abs=0.001) and failed["bias"] > 0.1


def test_a_difference_of_scatters_is_paired_by_galaxy():
    rng = np.random.default_rng(2)
    z, shared = rng.uniform(0, 0.4, 300), rng.normal(size=300)
    one, other = (z + factor * shared * (1 + z) for factor in (0.02, 0.021))
    difference, low, high = ssl.paired_sigma_mad(z, one, other, draws=200)
    sigmas = [ssl.photoz_scores(z, predicted)["sigma_mad"] for predicted in (one, other)]
    assert difference == pytest.approx(sigmas[0] - sigmas[1])
    assert low < difference < high < 0  # the same galaxies are hard for both: drawn apart, this would be open
    assert ssl.paired_sigma_mad(z, one, other, draws=200) == (difference, low, high)
    one[0], other[1] = np.nan, np.nan
    difference = ssl.paired_sigma_mad(z, one, other, draws=9)[0]
    assert difference == pytest.approx(ssl.paired_sigma_mad(z[2:], one[2:], other[2:], draws=9)[0])
    with pytest.raises(ValueError, match="1 objects have a true and both"):
        ssl.paired_sigma_mad([0.1, 0.2], [0.1, 0.2], [np.nan, 0.2])
    with pytest.raises(ValueError, match="other holds -9999"):
        ssl.paired_sigma_mad([0.1, 0.2], [0.1, 0.2], [-9999, 0.2])


def test_outliers_are_counted_either_side_and_in_units_of_one_plus_z():
    assert ssl.photoz_scores([0.0, 0.0], [-0.06, 0.06])["outlier_rate"] == 1
    assert ssl.photoz_scores([1.0, 1.0], [0.94, 1.06])["outlier_rate"] == 0


def test_unknown_redshifts_are_left_out_and_counted():
    z_true = MaskedColumn([0.1, 0.2, 0.3, -9999.0], mask=[False, False, False, True])
    scores = ssl.photoz_scores(z_true, [0.1, np.nan, 0.3, 0.4])
    assert scores == {"bias": 0, "sigma_mad": 0, "outlier_rate": 0, "n": 2, "n_unknown": 2}
    with pytest.raises(ValueError, match="none of 2 objects has both"):
        ssl.photoz_scores([np.nan, 0.1], [0.1, np.nan])


@pytest.mark.parametrize("value", [-9999.0, -1.0, np.inf])
def test_what_is_no_redshift_is_refused(value):
    with pytest.raises(ValueError, match=f"z_true holds {value:g}, which is no redshift"):
        ssl.photoz_scores([0.1, value], [0.1, 0.2])
    with pytest.raises(ValueError, match=f"z_predicted holds {value:g}, which is no redshift"):
        ssl.photoz_scores([0.1, 0.2], [0.1, value])


def predictions(n=2000):
    """True log10(1 + z), and predictions that are off by as much as their scale says."""
    rng = np.random.default_rng(1)
    true, scale = np.log10(1 + rng.uniform(0, 0.4, n)), rng.uniform(0.005, 0.02, n)
    return true, true + scale * rng.laplace(size=n), scale


def test_pit_of_right_error_bars_is_flat():
    true, predicted, scale = predictions()
    pit = ssl.pit_values(true, predicted, scale)
    assert pit.shape == (2000,) and 0 <= pit.min() and pit.max() <= 1
    assert ssl.pit_flatness(pit) < 1.36 / np.sqrt(2000)


@pytest.mark.parametrize(("factor", "horns"), [(1 / 3, True), (3, False)])
def test_pit_of_wrong_error_bars_is_not(factor, horns):
    true, predicted, scale = predictions()
    pit = ssl.pit_values(true, predicted, factor * scale)
    assert ssl.pit_flatness(pit) > 0.15
    in_the_ends = ((pit < 0.1) | (pit > 0.9)).mean()
    assert in_the_ends > 0.4 if horns else in_the_ends < 0.05


def test_pit_leans_the_way_that_predictions_are_biased():
    true, predicted, scale = predictions()
    assert ssl.pit_values(true, predicted - 2 * scale, scale).mean() > 0.8  # too low: the truth lies above
    assert ssl.pit_values(true, predicted + 2 * scale, scale).mean() < 0.2
    assert ssl.pit_flatness(ssl.pit_values(true, predicted + 2 * scale, scale)) > 0.5


def test_unknown_pit_values_stay_unknown_and_are_left_out():
    pit = ssl.pit_values(MaskedColumn([0.1, 0.1, 0.1], mask=[True, False, False]), [0.1, np.nan, 0.1], [0.1] * 3)
    np.testing.assert_array_equal(pit, [np.nan, np.nan, 0.5])
    assert ssl.pit_flatness(pit) == 0.5
    with pytest.raises(ValueError, match="no PIT value is known"):
        ssl.pit_flatness([np.nan])


def test_wrong_inputs_are_refused():
    with pytest.raises(ValueError, match=r"the shapes are z_true \(2,\), z_predicted \(3,\)"):
        ssl.photoz_scores([0.1, 0.2], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match=r"z_true \(2, 1\)"):  # would broadcast into pairs that nobody predicted
        ssl.photoz_scores(np.ones((2, 1)), np.ones((2, 1)))
    with pytest.raises(ValueError, match=r"z_true \(2,\), predicted \(2,\), scale \(1,\)"):
        ssl.pit_values([0.1, 0.2], [0.1, 0.2], [0.1])
    with pytest.raises(ValueError, match="scale goes down to 0"):
        ssl.pit_values([0.1, 0.2], [0.1, 0.2], [0.1, 0.0])
    with pytest.raises(ValueError, match="PIT values go from 0.5 to 7"):
        ssl.pit_flatness([0.5, 7.0])
