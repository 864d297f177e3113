"""Figures that ask where a result holds: differences, strata, calibration, redshifts."""

from itertools import product

import matplotlib.pyplot as plt
import numpy as np

from astro_ssl_nb.columns import as_floats, as_labels
from astro_ssl_nb.scores import confidence_bins
from astro_ssl_nb.style import COLOURS, describe, in_course_style

LEAST = 10  # objects in a bin of confidence: fewer are noise
# Numbers of `COLOURS`: what starts alike looks alike, whatever a notebook calls it and beside whatever it stands.
ARM_STYLES = {
    "pretext": (0, "-"),
    "network": (0, "-"),
    "imagenet": (1, "-"),
    "scratch": (2, "-"),
    "random": (2, "-"),
    "photometry": (3, "-"),
    "magnitudes": (3, "-"),
    "apertures": (5, "--"),
    "catalogue": (4, "-"),
    "both": (6, "--"),  # it often lies upon pretext
}


def arm_styles(arms):
    """A colour and a line style for each arm; *scratch* looks the same in every figure.

    Parameters
    ----------
    arms : iterable of str
        Names that `ARM_STYLES` does not know, or whose colour is taken by another of these, get what is free.

    Returns
    -------
    dict of arm -> (colour, line style)

    Examples
    --------
    >>> arm_styles(["scratch", "pretext"]) == {"scratch": (COLOURS[2], "-"), "pretext": (COLOURS[0], "-")}
    True
    """
    arms = list(dict.fromkeys(arms))
    known = {}
    for arm in arms:
        if arm in ARM_STYLES:
            number, line = ARM_STYLES[arm]
            known.setdefault((COLOURS[number], line), arm)
    styles = {arm: style for style, arm in known.items()}
    free = [(colour, line) for line, colour in product(("-", "--", ":"), COLOURS) if (colour, line) not in known]
    others = [arm for arm in arms if arm not in styles]
    styles |= {arm: free[k % len(free)] for k, arm in enumerate(others)}
    return {arm: styles[arm] for arm in arms}


@in_course_style
def plot_differences(table, xlabel):
    """Differences with their intervals around a line at zero, a panel a task, a row a recipe.

    Parameters
    ----------
    table : DataFrame
        Columns `task, recipe, mean, low, high`.
    xlabel : str
    """
    tasks, recipes = list(dict.fromkeys(table.task)), list(dict.fromkeys(table.recipe))
    height = 1.2 + 0.28 * len(recipes)
    fig, axes = plt.subplots(
        1, len(tasks), figsize=(2.0 + 2.0 * len(tasks), height), sharex=True, sharey=True, squeeze=False
    )
    for ax, task in zip(axes[0], tasks, strict=True):
        rows = table[table.task == task]
        y = np.array([recipes.index(name) for name in rows.recipe])
        half = np.abs([rows["mean"] - rows.low, rows.high - rows["mean"]])
        ax.errorbar(rows["mean"], y, xerr=half, fmt="o", color=COLOURS[0], elinewidth=1.5)
        ax.axvline(0, color="black", linewidth=1)
        ax.set_title(str(task).upper())
    axes[0, 0].set_yticks(range(len(recipes)), recipes)
    axes[0, 0].invert_yaxis()
    fig.supxlabel(xlabel, fontsize=11)
    fig.tight_layout()
    caption = f"Mean differences and their 95 % intervals, a panel a task: {xlabel}."
    said = [
        f"{row.task}, {row.recipe}: {row.mean:+z.3f} [{row.low:+z.3f}, {row.high:+z.3f}]" for row in table.itertuples()
    ]
    return describe(fig, caption, f"{'; '.join(said)}.")


@in_course_style
def plot_strata(tables, labels):
    """Accuracy against a column of the catalogue, a panel a column, a line per arm with its interval.

    Parameters
    ----------
    tables : dict of column -> DataFrame
        Columns `arm`, the column itself, `accuracy, low, high`.
    labels : dict of column -> str
        What the axes say.
    """
    fig, axes = plt.subplots(1, len(tables), figsize=(3.6 * len(tables), 3.5), sharey=True, squeeze=False)
    styles = arm_styles(arm for table in tables.values() for arm in table.arm)
    said = []
    for ax, (column, table) in zip(axes[0], tables.items(), strict=True):
        for arm, rows in table.groupby("arm", sort=False):
            colour, line = styles[arm]
            ax.plot(rows[column], rows.accuracy, "o", linestyle=line, color=colour, label=arm)
            ax.fill_between(rows[column], rows.low, rows.high, color=colour, alpha=0.15, linewidth=0)
            ends = [f"{rows.accuracy.iloc[k]:.2f} at {rows[column].iloc[k]:.3g}" for k in (0, -1)]
            said.append(f"{arm}, {labels[column]}: from {ends[0]} to {ends[1]}")
        ax.set_xlabel(labels[column])
    axes[0, 0].set(ylabel="accuracy (test)", ylim=(0, 1.02))
    axes[0, 0].legend(fontsize=9)
    fig.tight_layout()
    caption = f"Test accuracy against {' and '.join(labels.values())}, a line an arm, with 95 % intervals."
    return describe(fig, caption, f"{'; '.join(said)}.")


@in_course_style
def plot_reliability(answers, truth):
    """How often an answer is right against how sure the classifier was of it, a line per arm, a point per bin.

    The area of a point grows with the number of objects in its bin; bins with fewer than ten are left out.

    Parameters
    ----------
    answers : dict of arm -> DataFrame of shape (N, classes)
        Probabilities, as `few_shot_probabilities` gives them.
    truth : array of N class names
    """
    truth = as_labels(truth).astype(str)
    fig, ax = plt.subplots(figsize=(4.2, 3.8))
    ax.plot([0, 1], [0, 1], ":", color="black", label="perfect")
    said = []
    for (arm, table), (colour, line) in zip(answers.items(), arm_styles(answers).values(), strict=True):
        sure = table.max(axis=1).to_numpy()
        right = table.idxmax(axis=1).to_numpy().astype(str) == truth
        number = confidence_bins(sure)
        counts = np.bincount(number)
        filled = np.flatnonzero(counts >= LEAST)
        x, y = ([values[number == k].mean() for k in filled] for values in (sure, right))
        ax.plot(x, y, line, color=colour, label=arm)
        ax.scatter(x, y, 10 + 150 * counts[filled] / len(truth), color=colour)
        said += [f"{arm}: of answers given {a:.2f}, {b:.2f} are right" for a, b in zip(x[-1:], y[-1:], strict=True)]
    ax.set_title("area of a point: number of objects", fontsize=10)
    ax.set(xlabel="probability of the answer", ylabel="share that is right", xlim=(0.2, 1.02), ylim=(0, 1.02))
    ax.legend(fontsize=9, loc="lower right")
    fig.tight_layout()
    caption = "Share of answers that are right against the probability that the classifier gave them, a line an arm."
    return describe(fig, caption, "; ".join(said))


@in_course_style
def plot_redshifts(true, predicted, pit):
    """Predicted against spectroscopic redshift, a panel a method, and the histogram of PIT values.

    Parameters
    ----------
    true : array of N float
    predicted : dict of method -> array of N float
    pit : array of N float
        From `pit_values`.
    """
    n, true = len(predicted) + 1, as_floats(true)
    fig, axes = plt.subplots(1, n, figsize=(3.2 * n, 3.2))
    top = float(np.nanquantile(true, 0.99)) * 1.1
    for ax, (name, (colour, _)) in zip(axes, arm_styles(predicted).items(), strict=False):
        ax.plot([0, top], [0, top], ":", color="black")
        ax.scatter(true, predicted[name], s=5, color=colour, alpha=0.5, linewidths=0)
        ax.set(xlabel="spectroscopic redshift", xlim=(0, top), ylim=(0, top), title=name)
    axes[0].set_ylabel("photometric redshift")
    pit = np.asarray(pit)[np.isfinite(pit)]
    heights, *_ = axes[-1].hist(pit, np.linspace(0, 1, 11), density=True, color=COLOURS[5], edgecolor="white")
    axes[-1].axhline(1, color="black", linestyle=":")
    axes[-1].set(xlabel="PIT of the network", ylabel="density", title="error bars")
    fig.tight_layout()
    caption = (
        f"Predicted against spectroscopic redshift, by {' and '.join(predicted)}; at the right the histogram of PIT "
        "values, which is flat (dotted) where error bars are honest."
    )
    return describe(fig, caption, f"Its bars, from 0 to 1: {', '.join(f'{h:.2f}' for h in heights)}.")
