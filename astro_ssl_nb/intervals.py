"""What a label curve says: means with intervals, paired differences, and how many labels an arm saves."""

import numpy as np
import pandas as pd


def mean_interval(values, level=0.95):
    """Mean of a few runs and its Student-t interval: (mean, low, high).

    Examples
    --------
    >>> [round(float(x), 2) for x in mean_interval([0.8, 0.9, 0.85])]
    [0.85, 0.73, 0.97]
    """
    from scipy import stats

    values = np.asarray(values, float)
    if len(values) < 2:
        return values.mean(), np.nan, np.nan
    half = stats.t.ppf(0.5 + level / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean(), values.mean() - half, values.mean() + half


def mean_intervals(curve, metric="accuracy"):
    """Mean over seeds and 95 % interval of each arm, probe and number of labels.

    Parameters
    ----------
    curve : DataFrame of `label_curve`
    metric : str, default="accuracy"

    Returns
    -------
    DataFrame with columns `arm, probe, n_labels, mean, low, high`, in the order of the curve

    Examples
    --------
    >>> runs = {"arm": "pretext", "probe": "linear", "n_labels": 5, "accuracy": [0.8, 0.9, 0.85]}
    >>> mean_intervals(pd.DataFrame(runs)).round(2).values.tolist()
    [['pretext', 'linear', 5, 0.85, 0.73, 0.97]]
    """
    found = curve.groupby(["arm", "probe", "n_labels"], sort=False)[metric].agg(mean_interval)
    return pd.DataFrame(found.tolist(), found.index, ["mean", "low", "high"]).reset_index()


def paired_difference(curve, better, worse, *, n_labels, metric="accuracy"):
    """Mean difference of two (arm, probe) pairs over seeds, with its 95 % interval.

    Both were trained on the same labels for each seed, so the difference is taken seed by seed.

    Parameters
    ----------
    curve : DataFrame of `label_curve`
    better, worse : (arm, probe)
    n_labels : int

    Returns
    -------
    (mean, low, high)
    """
    runs = curve[curve.n_labels == n_labels].set_index(["arm", "probe", "seed"])[metric].sort_index()
    for arm, probe in (better, worse):
        if (arm, probe) not in runs.index.droplevel("seed"):
            raise ValueError(f"the curve has no run of arm {arm!r} with probe {probe!r} at {n_labels} labels a class")
    return mean_interval((runs.loc[better] - runs.loc[worse]).dropna())


def paired_differences(curve, pairs, *, n_labels=None, metric="accuracy"):
    """`paired_difference` of several pairs, each a claim that one (arm, probe) is better than another, with a verdict.

    Parameters
    ----------
    curve : DataFrame of `label_curve`
    pairs : sequence of (better, worse), each an (arm, probe)
    n_labels : int, optional
        By default all sizes at which both of a pair have runs.
    metric : str, default="accuracy"

    Returns
    -------
    DataFrame with columns `n_labels, better, worse, mean, low, high, holds`
        `holds` is "yes" where the interval lies above 0, "the reverse" where it lies below, and "open" otherwise.

    Examples
    --------
    >>> runs = {"n_labels": 5, "probe": "linear", "seed": [0, 1, 0, 1], "arm": ["pretext"] * 2 + ["scratch"] * 2}
    >>> curve = pd.DataFrame({**runs, "accuracy": [0.9, 0.91, 0.8, 0.81]})
    >>> paired_differences(curve, [(("pretext", "linear"), ("scratch", "linear"))]).holds.item()
    'yes'
    """
    rows = [
        (
            size,
            " ".join(better),
            " ".join(worse),
            *paired_difference(curve, better, worse, n_labels=size, metric=metric),
        )
        for better, worse in pairs
        for size in (_shared_sizes(curve, better, worse) if n_labels is None else [n_labels])
    ]
    table = pd.DataFrame(rows, columns=["n_labels", "better", "worse", "mean", "low", "high"])
    return table.assign(holds=np.select([table.low > 0, table.high < 0], ["yes", "the reverse"], "open"))


def _shared_sizes(curve, *pair):
    sizes = curve.groupby(["arm", "probe"]).n_labels.agg(set)
    for arm, probe in pair:
        if (arm, probe) not in sizes:
            raise ValueError(f"the curve has no run of arm {arm!r} with probe {probe!r}")
    return sorted(set.intersection(*sizes[list(pair)]))


def verdict_table(differences):
    """Paired differences of several tasks as a table to read: a line per claim, a column per number of labels.

    Parameters
    ----------
    differences : DataFrame of `paired_differences`, with a column `task`

    Examples
    --------
    >>> row = {"task": "SG", "n_labels": 5, "better": "pretext linear", "worse": "scratch linear"}
    >>> verdict_table(pd.DataFrame([{**row, "mean": 0.1, "low": 0.02, "high": 0.18, "holds": "yes"}])).iloc[0].item()
    '+0.100 yes'
    """
    cells = differences["mean"].map("{:+.3f} ".format) + differences.holds
    claims = ["task", "better", "worse"]
    table = differences.assign(cells=cells).pivot_table(
        index=claims, columns="n_labels", values="cells", aggfunc="first", sort=False
    )
    return table[sorted(table)].fillna("")


def label_efficiency(curve, arm="pretext", baseline="scratch", *, metric="accuracy", draws=1000, seed=0):
    """How many times fewer labels an arm needs than a baseline for the same score.

    Each side uses its best probe a size. The baseline's mean curve is interpolated in the logarithm of the number of
    labels; where it never gets there, its largest size gives a lower bound. The interval is a bootstrap over seeds.

    Parameters
    ----------
    curve : DataFrame of `label_curve`
    arm, baseline : str
    metric : str, default="accuracy"
    draws, seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame with columns `n_labels, score, efficiency, low, high, lower_bound`
    """
    for name in (arm, baseline):
        if name not in set(curve.arm):
            raise ValueError(f"the curve has no arm {name!r}, only {sorted(set(curve.arm))}")
    scores = {}
    for name in (arm, baseline):
        table = curve[curve.arm == name].pivot_table(index=["n_labels", "probe"], columns="seed", values=metric)
        best = table.mean(axis=1).groupby("n_labels").idxmax()
        scores[name] = table.loc[best].droplevel("probe")
    sizes = scores[arm].index.to_numpy(float)
    n_seeds = scores[arm].shape[1]

    def efficiencies(seeds):
        ours, theirs = (scores[name].iloc[:, seeds].mean(axis=1).to_numpy() for name in (arm, baseline))
        # A mean curve may dip by chance: what a baseline has reached once, it has reached.
        reached = np.maximum.accumulate(theirs)
        reached = reached + np.arange(len(reached)) * 1e-12
        needed = np.exp(np.interp(ours, reached, np.log(scores[baseline].index.to_numpy(float))))
        return ours, needed / sizes, ours > reached[-1]

    score, efficiency, bound = efficiencies(np.arange(n_seeds))
    rng = np.random.default_rng(seed)
    bootstrap = np.array([efficiencies(rng.integers(n_seeds, size=n_seeds))[1] for _ in range(draws)])
    low, high = np.percentile(bootstrap, [2.5, 97.5], axis=0)
    return pd.DataFrame(
        {"n_labels": sizes.astype(int), "score": score, "efficiency": efficiency, "low": low, "high": high}
    ).assign(lower_bound=bound)
