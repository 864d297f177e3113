"""Every plot of the course, in one visual style; those of `pictures` and `diagnostics` are here too."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix
from sklearn.neighbors import NearestNeighbors

from astro_ssl_nb.columns import as_floats, as_labels
from astro_ssl_nb.diagnostics import (  # noqa: F401
    arm_styles,
    plot_differences,
    plot_redshifts,
    plot_reliability,
    plot_strata,
)
from astro_ssl_nb.intervals import mean_intervals
from astro_ssl_nb.pictures import (  # noqa: F401  (so that a notebook finds all figures in one place)
    plot_saliency,
    plot_thumbnails,
    rgb,
    show_bands,
    show_batch,
    show_cutouts,
    show_neighbours,
)
from astro_ssl_nb.style import (
    COLOURS,
    STYLE,  # noqa: F401  (notebooks draw in it)
    class_colours,
    describe,
    in_course_style,
    legend_below,
)

MARKERS = {"linear": "o", "knn": "s", "finetune": "^"}
MAP_MARKERS = "o^s*"  # of a map, where there are more classes than colours that all readers can tell apart


@in_course_style
def plot_magnitude_error(measured, predicted, errors, names):
    """Median absolute magnitude error of the network against magnitude, a panel a band, beside the catalogue's own.

    Parameters
    ----------
    measured, predicted : ndarray of shape (N, P)
        Magnitudes; NaN where the catalogue has none.
    errors : ndarray of shape (N, P)
        The catalogue's own standard errors.
    names : sequence of P str
    """
    fig, axes = plt.subplots(1, len(names), figsize=(2.2 * len(names), 2.8), sharey=True, squeeze=False)
    said, measured, errors = [], as_floats(measured), as_floats(errors)
    for i, (ax, name) in enumerate(zip(axes[0], names, strict=True)):
        known = np.isfinite(measured[:, i])
        magnitude = measured[known, i]
        edges = np.percentile(magnitude, np.linspace(1, 99, 9))
        bin_of = np.digitize(magnitude, edges[1:-1])
        centre, network, catalogue = (
            np.array([np.nanmedian(values[bin_of == k]) for k in range(8)])
            for values in (magnitude, np.abs(predicted[known, i] - magnitude), 0.6745 * errors[known, i])
        )
        ax.plot(centre, network, "o-", color=COLOURS[0], label="network")
        ax.plot(centre, catalogue, "s:", color=COLOURS[1], label="catalogue's own error")
        ax.set_yscale("log")
        ax.set_title(name, fontsize=10)
        ax.set_xlabel("magnitude (mag)")
        ends = [f"{network[k]:.2g} (the catalogue {catalogue[k]:.2g}) at {centre[k]:.1f}" for k in (0, -1)]
        said.append(f"{name}: from {ends[0]} to {ends[1]} mag")
    axes[0, 0].set_ylabel("median |error| (mag)")
    axes[0, 0].legend(fontsize=8)
    fig.tight_layout()
    caption = "Median error of the network against magnitude, a panel a band, beside the catalogue's own error."
    return describe(fig, caption, f"{'; '.join(said)}.")


@in_course_style
def plot_label_curve(curve, *, metric="accuracy", title=""):
    """Score against labels per class, a panel a probe, a line per arm: mean over seeds and 95 % interval.

    The marker says the probe, the colour the arm, as in every figure: see `arm_styles`.

    Parameters
    ----------
    curve : DataFrame of `label_curve`
    metric : {"accuracy", "balanced_accuracy", "macro_f1"}, default="accuracy"
    title : str
    """
    probes = [probe for probe in MARKERS if probe in set(curve.probe)]
    styles = arm_styles(curve.arm)
    table, sizes, name = mean_intervals(curve, metric), sorted(set(curve.n_labels)), metric.replace("_", " ")
    fig, axes = plt.subplots(1, len(probes), figsize=(3.4 * len(probes), 3.6), sharey=True, squeeze=False)
    for ax, probe in zip(axes[0], probes, strict=True):
        for arm, (colour, dashes) in styles.items():
            rows = table[(table.arm == arm) & (table.probe == probe)].sort_values("n_labels")
            if len(rows):
                inside = colour if dashes == "-" else "white"  # a dashed line with open markers hides none below it
                ax.plot(rows.n_labels, rows["mean"], MARKERS[probe] + dashes, color=colour, mfc=inside, label=arm)
                if len(rows) > 1:
                    ax.fill_between(rows.n_labels, rows.low, rows.high, color=colour, alpha=0.15, linewidth=0)
                else:  # a band at one size has no width
                    half = np.abs([rows["mean"] - rows.low, rows.high - rows["mean"]])
                    ax.errorbar(rows.n_labels, rows["mean"], yerr=half, fmt="none", ecolor=colour, capsize=3)
        ax.set_xscale("log")
        ax.set_xlim(sizes[0] / 1.2, sizes[-1] * 1.2)  # of all panels, however many sizes each has
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.minorticks_off()
        ax.set_xlabel("labels per class")
        ax.set_title({"linear": "linear probe", "knn": "k nearest neighbours", "finetune": "fine-tuned"}[probe])
    low, high = axes[0, 0].get_ylim()  # the margin may leave the range of a score
    axes[0, 0].set(ylabel=f"{name} (test)", ylim=(max(low, 0), min(high, 1.02)))
    handles = [Line2D([], [], color=colour, linestyle=dashes) for colour, dashes in styles.values()]
    room = legend_below(fig, handles, list(styles))
    fig.suptitle(title)
    fig.tight_layout(rect=(0, room, 1, 1))
    draws = _draws_in_words(curve.groupby("probe").seed.nunique()[probes]) if "seed" in curve else "draws of labels"
    caption = (
        f"{title}{title and ': '}test {name} against labels per class, a panel a probe, a line an arm; "
        f"mean and 95 % interval over {draws}."
    )
    return describe(fig, caption, f"{_ends_in_words(table)}.")


def _draws_in_words(counts):
    """How many draws of labels each probe had, once where they are alike."""
    most = counts.max()
    fewer = ", ".join(f"{probe}: {count}" for probe, count in counts.items() if count < most)
    return f"{most} draws of labels{fewer and f' ({fewer})'}"


def _ends_in_words(table):
    """The first and the last point of each line of a label curve."""
    said = []
    for (probe, arm), rows in table.sort_values("n_labels").groupby(["probe", "arm"], sort=False):
        points = [f"{row['mean']:.3f} with {row.n_labels}" for _, row in rows.iterrows()]
        said.append(f"{arm}, {probe}: {', '.join(dict.fromkeys((points[0], points[-1])))}")
    return "; ".join(said)


@in_course_style
def plot_map(xy, labels, *, titles=None):
    """Maps of a representation (t-SNE), a point per object, coloured by class; one panel a representation.

    Parameters
    ----------
    xy : ndarray of shape (N, 2), or a list of them
    labels : array of N class names
    titles : sequence of str, optional
        One a panel.
    """
    maps, labels = [xy] if isinstance(xy, np.ndarray) else list(xy), as_labels(labels).astype(str)
    titles = [""] * len(maps) if titles is None else titles
    fig, axes = plt.subplots(1, len(maps), figsize=(0.4 + 2.6 * len(maps), 3.5), squeeze=False)
    for ax, points, title in zip(axes[0], maps, titles, strict=True):
        for k, (name, colour) in enumerate(class_colours(labels).items()):
            marker = MAP_MARKERS[k // len(COLOURS) % len(MAP_MARKERS)]
            style = {"s": 5, "color": colour, "marker": marker, "alpha": 0.7, "linewidths": 0}
            ax.scatter(*points[labels == name].T, label=name, **style)
        ax.set_title(title)
        ax.set(xticks=[], yticks=[], xlabel="first axis (no unit)")
    axes[0, 0].set_ylabel("second axis (no unit)")
    handles, names = axes[0, 0].get_legend_handles_labels()
    room = legend_below(fig, handles, names, markerscale=2)
    fig.tight_layout(rect=(0, room, 1, 1))
    said = []
    for points, title in zip(maps, titles, strict=True):
        nearest = NearestNeighbors(n_neighbors=1).fit(points).kneighbors(return_distance=False)[:, 0]
        alike = (labels[nearest] == labels).mean()
        said.append(f"{title}{title and ': '}{alike:.0%} of the points lie nearest to one of their own class")
    by = ", ".join(title for title in titles if title)
    caption = f"Map of {len(labels)} objects, a point each{by and f', by {by}'}; classes: {', '.join(names)}."
    return describe(fig, caption, f"{'; '.join(said)}.")


@in_course_style
def plot_confusion(answers, truth):
    """Which class is taken for which, a panel an arm: shares of each true class, and numbers of objects.

    Parameters
    ----------
    answers : dict of arm -> DataFrame of shape (N, classes)
        Probabilities, as `few_shot_probabilities` gives them.
    truth : array of N class names
    """
    fig, axes = plt.subplots(
        1, len(answers), figsize=(3.3 * len(answers) + 0.8, 3.6), sharey=True, squeeze=False, layout="constrained"
    )
    said, truth = [], as_labels(truth)
    for ax, (arm, table) in zip(axes[0], answers.items(), strict=True):
        counts = confusion_matrix(truth, table.idxmax(axis=1), labels=list(table.columns))
        shares = confusion_matrix(truth, table.idxmax(axis=1), labels=list(table.columns), normalize="true")
        drawn = ConfusionMatrixDisplay(shares, display_labels=table.columns)
        drawn.plot(ax=ax, cmap="Blues", colorbar=False, im_kw={"vmin": 0, "vmax": 1, "origin": "upper"})
        for cell, text in np.ndenumerate(drawn.text_):
            text.set(text=f"{shares[cell]:.0%}\n({counts[cell]})")
        ax.set(title=arm, xlabel="predicted class", ylabel="")
        ax.grid(False)
        said.append(f"{arm}: " + ", ".join(f"{name} {shares[k, k]:.0%}" for k, name in enumerate(table.columns)))
    axes[0, 0].set_ylabel("true class")
    fig.colorbar(drawn.im_, ax=axes[0], label="share of the true class")
    caption = "Which class is taken for which, a panel an arm: shares of each true class and numbers of objects."
    return describe(fig, caption, f"Recognised: {'; '.join(said)}.")
