"""What a label curve says: means with intervals, paired differences, and how many labels an arm saves."""

import numpy as np
import pandas as pd

from astro_ssl_nb.scores import read_outcomes

# Of the bootstrap of a label efficiency.
DRAWS = 10_000
# What each class counts for in a score that is a mean over objects, by how many objects it has.
SHARES = {
    "accuracy": lambda sizes: sizes / sizes.sum(),
    "balanced_accuracy": lambda sizes: np.full(len(sizes), 1 / len(sizes)),
}


def mean_interval(values, level=0.95, *, score=False):
    """Mean of a few runs and its Student-t interval: (mean, low, high).

    Parameters
    ----------
    values : array of N float, one a run
        Of one run alone the interval is NaN.
    level : float, default=0.95
    score : bool, default=False
        The values are shares, such as accuracies. The interval is then taken of the log odds of the mean (the delta
        method; Korn & Graubard 1998, Survey Methodology 24, 193) and stays from 0 to 1, which one of a score near 1
        would leave. A bootstrap would stay there too, but of five runs it holds the truth 80 to 84 times in 100.

    Raises
    ------
    ValueError
        If a score lies outside 0 to 1.

    Examples
    --------
    >>> [round(float(x), 2) for x in mean_interval([0.8, 0.9, 0.85])]
    [0.85, 0.73, 0.97]
    >>> [round(float(x), 2) for x in mean_interval([0.8, 0.9, 0.85], score=True)]
    [0.85, 0.68, 0.94]
    """
    from scipy import special, stats

    values = np.asarray(values, float)
    if score and ((values < 0) | (values > 1)).any():
        raise ValueError(f"scores go from {values.min():g} to {values.max():g}: give shares, which lie from 0 to 1")
    mean = values.mean()
    if len(values) < 2:
        return mean, np.nan, np.nan
    half = stats.t.ppf(0.5 + level / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    if not score or half == 0:  # runs that all scored 0 or 1 have no log odds
        return mean, mean - half, mean + half
    centre, half = special.logit(mean), half / (mean * (1 - mean))
    return mean, special.expit(centre - half), special.expit(centre + half)


def _refuse_repeats(curve):
    """A run that is there twice would count as two: an error, which two tasks in one curve are as well."""
    names = ["arm", "probe", "n_labels", "seed"]
    if set(names) <= set(curve.columns) and curve.duplicated(names).any():
        row = curve[curve.duplicated(names)].iloc[0]
        raise ValueError(
            f"the run of {row.arm} {row.probe} with {row.n_labels} labels and seed {row.seed} is there more than once: "
            "give the curve of one task at a time, each run once"
        )


def mean_intervals(curve, metric="accuracy"):
    """Mean over seeds and 95 % interval of each arm, probe and number of labels.

    Parameters
    ----------
    curve : DataFrame of `label_curve`
    metric : str, default="accuracy"
        A score from 0 to 1, where the intervals stay too: see `mean_interval`.

    Returns
    -------
    DataFrame with columns `arm, probe, n_labels, mean, low, high`, in the order of the curve

    Examples
    --------
    >>> runs = {"arm": "pretext", "probe": "linear", "n_labels": 5, "accuracy": [0.8, 0.9, 0.85]}
    >>> mean_intervals(pd.DataFrame(runs)).round(2).values.tolist()
    [['pretext', 'linear', 5, 0.85, 0.68, 0.94]]
    """
    _refuse_repeats(curve)
    found = curve.groupby(["arm", "probe", "n_labels"], sort=False)[metric].agg(mean_interval, score=True)
    return pd.DataFrame(found.tolist(), found.index, ["mean", "low", "high"]).reset_index()


def paired_difference(curve, better, worse, *, n_labels, metric="accuracy"):
    """Mean difference of two (arm, probe) pairs over seeds, with its 95 % interval.

    Both were trained on the same labels for each seed, so the difference is taken seed by seed. The interval of an
    accuracy, balanced or not, is one of draws of labels and of test objects, crossed as readers and cases are in
    radiology (Dorfman, Berbaum & Metz 1992, Invest. Radiol. 27, 723): of draws alone, two arms that are equally good
    would too often be told apart by the objects of one test set. Of other scores, and of curves without the column
    `outcomes`, it is one of draws alone. Of another pool of labels or another pretraining it does not speak.

    Parameters
    ----------
    curve : DataFrame of `label_curve`
    better, worse : (arm, probe)
    n_labels : int
    metric : str, default="accuracy"

    Returns
    -------
    (mean, low, high)

    Raises
    ------
    ValueError
        If the curve lacks one of them at this number of labels, they share no seed, a run is there twice, or their test
        sets differ.

    Examples
    --------
    >>> runs = {"n_labels": 5, "probe": "linear", "seed": [0, 1, 0, 1], "arm": ["pretext"] * 2 + ["scratch"] * 2}
    >>> curve = pd.DataFrame({**runs, "accuracy": [0.9, 0.92, 0.8, 0.81]})
    >>> [round(float(x), 3) for x in paired_difference(curve, ("pretext", "linear"), ("scratch", "linear"), n_labels=5)]
    [0.105, 0.041, 0.169]
    """
    _refuse_repeats(curve)
    better, worse = tuple(better), tuple(worse)
    rows = curve[curve.n_labels == n_labels].set_index(["arm", "probe", "seed"]).sort_index()
    rows = rows.assign(outcomes=rows.get("outcomes"))  # a table that somebody made may lack them
    runs = rows[metric]
    for arm, probe in (better, worse):
        if (arm, probe) not in runs.index.droplevel("seed"):
            raise ValueError(f"the curve has no run of arm {arm!r} with probe {probe!r} at {n_labels} labels per class")
    differences = (runs.loc[better] - runs.loc[worse]).dropna()
    if not len(differences):
        raise ValueError(
            f"{' '.join(better)} and {' '.join(worse)} have no seed in common at {n_labels} labels per class: "
            "give both the same draws of labels"
        )
    n_seeds = len(differences)
    texts = rows["outcomes"].loc[[(*side, seed) for side in (better, worse) for seed in differences.index]]
    if metric not in SHARES or n_seeds < 2 or texts.isna().any():
        return mean_interval(differences)
    marks = read_outcomes(texts)
    return _crossed_interval([1.0 * mark[:n_seeds] - mark[n_seeds:] for mark in marks], SHARES[metric])


def _crossed_interval(differences, shares):
    """Mean and 95 % interval over draws and objects of paired differences: of each class an array (draws, objects).

    Each draw meets each object, so that the variances of both add, less the interaction, which both hold
    (Satterthwaite 1946, Biometrics Bulletin 2, 110, for the degrees of freedom).
    """
    from scipy import stats

    sizes = np.array([one.shape[1] for one in differences])
    weights, n_draws, of_objects, interaction = shares(sizes), len(differences[0]), 0.0, 0.0
    by_draw = sum(weight * one.mean(axis=1) for weight, one in zip(weights, differences, strict=True))
    for weight, one in zip(weights, differences, strict=True):
        n = max(one.shape[1], 2)  # of an object that is alone in its class, nothing says how others would differ
        means = one.mean(axis=0)
        rest = one - means - one.mean(axis=1, keepdims=True) + one.mean()
        of_objects += weight**2 * ((means - means.mean()) ** 2).sum() / (n - 1) / n
        interaction += weight**2 * (rest**2).sum() / ((n - 1) * (n_draws - 1)) / (n * n_draws)
    of_draws, mean = by_draw.var(ddof=1) / n_draws, by_draw.mean()
    variance = max(of_draws + of_objects - interaction, of_draws, of_objects)
    if variance == 0:
        return mean, mean, mean
    freedom = n_draws - 1, max(sizes.sum() - len(sizes), 1)
    scatter = of_draws**2 / freedom[0] + of_objects**2 / freedom[1] + interaction**2 / (freedom[0] * freedom[1])
    half = stats.t.ppf(0.975, variance**2 / scatter) * np.sqrt(variance)
    # Of two or three draws the degrees of freedom are a guess: the interval is never narrower than that of draws alone.
    half = max(half, stats.t.ppf(0.975, freedom[0]) * np.sqrt(of_draws))
    return mean, mean - half, mean + half


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
        `holds` is "yes" where the interval lies above 0, "the reverse" where it lies below, and "open" otherwise, also
        where it has no width: draws that do not differ are no evidence.

    Raises
    ------
    ValueError
        As `paired_difference`; also if a pair has no number of labels in common.

    Examples
    --------
    >>> runs = {"n_labels": 5, "probe": "linear", "seed": [0, 1, 0, 1], "arm": ["pretext"] * 2 + ["scratch"] * 2}
    >>> curve = pd.DataFrame({**runs, "accuracy": [0.9, 0.92, 0.8, 0.81]})
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
    differ = table.high - table.low > 1e-9  # the last digits of equal differences are not equal
    verdicts = np.select([differ & (table.low > 0), differ & (table.high < 0)], ["yes", "the reverse"], "open")
    return table.assign(holds=verdicts)


def _shared_sizes(curve, *pair):
    sizes = curve.groupby(["arm", "probe"]).n_labels.agg(set)
    for arm, probe in pair:
        if (arm, probe) not in sizes:
            raise ValueError(f"the curve has no run of arm {arm!r} with probe {probe!r}")
    shared = sorted(set.intersection(*sizes[list(pair)]))
    if not shared:
        raise ValueError(f"{' and '.join(' '.join(one) for one in pair)} have no number of labels in common")
    return shared


def verdict_table(differences):
    """Paired differences of several tasks as a table to read: a line per claim, a column per number of labels.

    Each cell is a difference ± half of its interval, which is as wide to either side, and what that says of the claim.

    Parameters
    ----------
    differences : DataFrame of `paired_differences`, with a column `task`

    Examples
    --------
    >>> row = {"task": "SG", "n_labels": 5, "better": "pretext linear", "worse": "scratch linear"}
    >>> verdict_table(pd.DataFrame([{**row, "mean": 0.1, "low": 0.02, "high": 0.18, "holds": "yes"}])).iloc[0].item()
    '+0.100 ± 0.080 yes'
    """
    half = ((differences.high - differences.low) / 2).map(" ± {:.3f} ".format)
    half = half.where(differences.low.notna(), " (one seed) ")
    cells = differences["mean"].map("{:+z.3f}".format) + half + differences.holds
    claims = ["task", "better", "worse"]
    table = differences.assign(cells=cells).pivot_table(
        index=claims, columns="n_labels", values="cells", aggfunc="first", sort=False
    )
    return table[sorted(table)].fillna("").rename_axis(index=["task", "arm", "minus"], columns="labels per class")


def label_efficiency(curve, arm="pretext", baseline="scratch", *, probe="finetune"):
    """How many times fewer labels an arm needs than a baseline for the same score.

    Both sides use one probe, named beforehand: the best of several by their test scores would flatter the arm. The
    baseline's mean curve is interpolated in the logarithm of the number of labels. The 95 % interval is a bootstrap
    over seeds, its percentiles moved outwards for their small number (Hesterberg 2015, arXiv:1411.5279): the plain ones
    hold the truth 85 times in 100 with five seeds, these 93.

    Parameters
    ----------
    curve : DataFrame of `label_curve`
    arm, baseline : str
    probe : str, default="finetune"

    Returns
    -------
    DataFrame with columns `n_labels, score, efficiency, low, high, lower_bound, upper_bound`
        `lower_bound`: the baseline's largest size is not enough, and the efficiency is at least that;
        `upper_bound`: the baseline's smallest size is more than enough, and the efficiency is at most that.
        `low` and `high` are NaN where the curve has fewer than five seeds, which are too few for a bootstrap, and where
        that end of the interval lies beyond what the baseline's sizes can tell.

    Raises
    ------
    ValueError
        If the curve lacks this probe for either arm, they share no seed, or a run is there twice.

    Examples
    --------
    >>> runs = {"arm": ["pretext", "scratch", "scratch"], "probe": "finetune", "seed": 0, "n_labels": [5, 5, 20]}
    >>> curve = pd.DataFrame({**runs, "accuracy": [0.8, 0.6, 0.8]})
    >>> label_efficiency(curve)[["n_labels", "efficiency", "lower_bound"]].round(2).values.tolist()
    [[5, 4.0, False]]
    """
    from scipy import stats

    _refuse_repeats(curve)
    runs = curve[curve.probe == probe]
    for name in (arm, baseline):
        if name not in set(runs.arm):
            known = sorted({*zip(curve.arm, curve.probe, strict=True)})
            raise ValueError(f"the curve has no run of arm {name!r} with probe {probe!r}: choose from {known}")
    by_seed = [
        runs[runs.arm == name].pivot_table(index="n_labels", columns="seed", values="accuracy").dropna(axis=1)
        for name in (arm, baseline)
    ]
    shared = by_seed[0].columns.intersection(by_seed[1].columns)  # both sides had the same labels there
    if not len(shared):
        raise ValueError(
            f"{arm!r} and {baseline!r} have no seed in common at which both have all their sizes: give both the same "
            "draws of labels"
        )
    sizes, baseline_sizes = (table.index.to_numpy(float) for table in by_seed)
    scores = [table[shared].to_numpy() for table in by_seed]
    n_seeds = len(shared)

    def efficiencies(seeds):
        # Means of the same scores in another order differ in their last digit, and a tie is neither above nor below.
        ours, theirs = (score[:, seeds].mean(1).round(12) for score in scores)
        # A mean curve may dip by chance: what a baseline has reached once, it has reached.
        reached = np.maximum.accumulate(theirs)
        # A plateau counts to its end: more than it has reached takes more labels than that.
        rising = reached + np.arange(len(reached)) * 1e-12
        needed = np.exp(np.interp(ours, rising, np.log(baseline_sizes)))
        return ours, needed / sizes, ours > reached[-1], ours < reached[0]

    score, efficiency, lower_bound, upper_bound = efficiencies(np.arange(n_seeds))
    low = high = np.full(len(sizes), np.nan)
    tail = stats.norm.cdf(-np.sqrt(n_seeds / (n_seeds - 1)) * stats.t.ppf(0.975, n_seeds - 1)) if n_seeds > 1 else 0
    if tail > float(n_seeds) ** -n_seeds:  # with four seeds or fewer, no draw is as rare as the ends would have to be
        rng = np.random.default_rng(0)
        drawn = np.sort(rng.integers(n_seeds, size=(DRAWS, n_seeds)), axis=1)  # in whatever order, a draw is the same
        distinct, number = np.unique(drawn, axis=0, return_inverse=True)
        found = zip(*map(efficiencies, distinct), strict=True)
        _, bootstrap, beyond_all, below_all = (np.array(part)[number.ravel()] for part in found)
        low, high = np.quantile(bootstrap, [tail, 1 - tail], axis=0)
        # An end that is made of draws beyond the baseline's sizes is the size at which its curve stops, and no result.
        low = np.where(below_all.mean(0) >= tail, np.nan, low)
        high = np.where(beyond_all.mean(0) >= tail, np.nan, high)
    return pd.DataFrame(
        {
            "n_labels": sizes.astype(int),
            "score": score,
            "efficiency": efficiency,
            "low": low,
            "high": high,
            "lower_bound": lower_bound,
            "upper_bound": upper_bound,
        }
    )
