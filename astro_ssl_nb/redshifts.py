"""How good are photometric redshifts, and how honest their error bars."""

import numpy as np
from scipy import stats

from astro_ssl_nb.columns import as_floats

# Errors |dz| above this are failures, not scatter: the limit of Pasquet et al. 2019.
OUTLIER = 0.05


def photoz_scores(z_true, z_predicted):
    """Bias, scatter and failures of photometric redshifts, by the conventions of Pasquet et al. 2019 (A&A 621, A26).

    All are of dz = (z_predicted - z_true) / (1 + z_true), which has no unit.

    Parameters
    ----------
    z_true, z_predicted : array of N float
        Redshifts. Unknown is NaN, or masked, in either.

    Returns
    -------
    dict
        `bias`: the mean of dz, not the median, so a few failures do show in it;
        `sigma_mad`: 1.4826 times the median of |dz - median of dz|, which is the standard deviation of a Gaussian and
        takes no notice of failures;
        `outlier_rate`: the share with |dz| > 0.05;
        `n`: objects scored; `n_unknown`: objects left out because either redshift is unknown.

    Raises
    ------
    ValueError
        If the lengths differ, no object has both redshifts, or a known one is infinite or not above -1, as the
        sentinel -9999 of catalogues is.

    Examples
    --------
    >>> scores = photoz_scores([0.0, 1.0, 0.5, np.nan], [0.01, 1.2, 0.5, 0.3])
    >>> {name: round(value, 4) for name, value in scores.items()}
    {'bias': 0.0367, 'sigma_mad': 0.0148, 'outlier_rate': 0.3333, 'n': 3, 'n_unknown': 1}
    """
    errors = _errors(z_true, z_predicted=z_predicted)
    dz = errors[~np.isnan(errors)]
    if not len(dz):
        raise ValueError(f"none of {len(errors)} objects has both a true and a predicted redshift: nothing to score")
    return {
        "bias": float(dz.mean()),
        "sigma_mad": float(_sigma_mad(dz)),
        "outlier_rate": float((np.abs(dz) > OUTLIER).mean()),
        "n": len(dz),
        "n_unknown": len(errors) - len(dz),
    }


def paired_sigma_mad(z_true, one, other, *, draws=1000, seed=0):
    """How much wider one set of photometric redshifts scatters than another, of the same galaxies.

    The difference of their `sigma_mad` with its 95 % interval, a bootstrap over galaxies, which draws both predictions
    of a galaxy together: what makes a galaxy hard for both does not count. Below 0 `one` is the better.

    Parameters
    ----------
    z_true, one, other : array of N float
        Redshifts. Unknown is NaN, or masked; only galaxies with all three count.
    draws, seed : int
        Of the bootstrap.

    Returns
    -------
    (difference, low, high), each a float

    Raises
    ------
    ValueError
        If fewer than two objects have all three redshifts; or as `photoz_scores`.

    Examples
    --------
    >>> z = np.linspace(0.1, 0.4, 200)
    >>> scatter = np.random.default_rng(0).normal(size=200)
    >>> [round(value, 3) for value in paired_sigma_mad(z, z + 0.01 * scatter, z + 0.03 * scatter)]
    [-0.016, -0.019, -0.013]
    """
    both = np.array([_errors(z_true, **{name: z}) for name, z in {"one": one, "other": other}.items()])
    both = both[:, ~np.isnan(both).any(axis=0)]
    if both.shape[1] < 2:
        raise ValueError(f"{both.shape[1]} objects have a true and both predicted redshifts: two or more are needed")

    def difference(one, other, axis=-1):
        return _sigma_mad(one, axis) - _sigma_mad(other, axis)

    options = {"paired": True, "n_resamples": draws, "batch": 100, "method": "percentile", "rng": seed}
    low, high = stats.bootstrap(tuple(both), difference, **options).confidence_interval
    return float(difference(*both)), float(low), float(high)


def pit_values(z_true, predicted, scale):
    """Probability integral transform: the probability that a prediction gave to values below the true one.

    The predicted distribution is Laplace's, as in `masked_laplace`. Where error bars are right these are uniform from 0
    to 1; a histogram with horns says that they are too small, one with a hump that they are too large, a slope that
    predictions are biased (Polsterer et al. 2016, arXiv:1608.08016).

    Parameters
    ----------
    z_true, predicted, scale : array of N float
        The true value, the predicted one and its scale, as `predict_properties(..., uncertainty=True)` gives them, all
        three in the variable that was predicted: log10(1 + z) for networks of this package, not z. Unknown is NaN, or
        masked.

    Returns
    -------
    ndarray of N float, from 0 to 1; NaN where anything is unknown

    Raises
    ------
    ValueError
        If the lengths differ, or a scale is not positive.

    Examples
    --------
    >>> pit_values([0.1, 0.2], [0.1, 0.1], [0.05, 0.05]).round(3)
    array([0.5  , 0.932])
    """
    true, predicted, scale = _columns(z_true=z_true, predicted=predicted, scale=scale).values()
    if (scale <= 0).any():
        raise ValueError(f"scale goes down to {np.nanmin(scale):g}: give scales of a distribution, which are positive")
    return stats.laplace.cdf(true, predicted, scale)


def pit_flatness(pit):
    """How far PIT values are from uniform: the Kolmogorov-Smirnov distance, which needs no bins.

    Parameters
    ----------
    pit : array of N float
        From `pit_values`; NaN is left out.

    Returns
    -------
    float, from 0 (error bars are right) to 1; N honest ones stay below about 1.36 / sqrt(N) 95 times in 100

    Raises
    ------
    ValueError
        If a value lies outside 0 to 1, or none is known.

    Examples
    --------
    >>> round(pit_flatness((np.arange(100) + 0.5) / 100), 3), round(pit_flatness([0.5] * 100), 3)
    (0.005, 0.5)
    """
    (pit,) = _columns(pit=pit).values()
    pit = pit[~np.isnan(pit)]
    if not len(pit):
        raise ValueError("no PIT value is known: nothing to compare with a uniform distribution")
    if pit.min() < 0 or pit.max() > 1:
        raise ValueError(f"PIT values go from {pit.min():g} to {pit.max():g}: give probabilities, as pit_values does")
    return float(stats.kstest(pit, "uniform").statistic)


def _errors(z_true, **predicted):
    """dz = (z_predicted - z_true) / (1 + z_true) of one named prediction, NaN where either redshift is unknown."""
    columns = _columns(z_true=z_true, **predicted)
    for name, values in columns.items():
        impossible = values[(values <= -1) | np.isinf(values)]
        if len(impossible):
            raise ValueError(f"{name} holds {impossible[0]:g}, which is no redshift: mask it, or set it to NaN")
    true, prediction = columns.values()
    return (prediction - true) / (1 + true)


def _sigma_mad(dz, axis=-1):
    return stats.median_abs_deviation(dz, axis=axis, scale="normal")


def _columns(**columns):
    """The columns as float arrays of one length, NaN where masked."""
    arrays = {name: as_floats(values) for name, values in columns.items()}
    shapes = {name: values.shape for name, values in arrays.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        described = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"columns of one length are needed, one value an object, but the shapes are {described}")
    return arrays
