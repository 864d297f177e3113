"""The pictures of a dataset card. Each function gives a figure and its alt text, or None and "" without such columns.

They draw on figures of their own, not through pyplot: so they need no display, and show nothing in a notebook.
"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from astro_ssl_nb.columns import as_floats
from astro_ssl_nb.pictures import upright
from astro_ssl_nb.style import COLOURS, in_course_style

COLUMNS = 8  # of the contact sheet
MOST = 1e30  # beyond is no redshift and no magnitude, and between numbers near the largest one no bins can be drawn


@in_course_style
def contact_sheet(cutouts, labels, classes):
    """Cutouts in colour, one to three rows per class, spread evenly over the rows of the set.

    Parameters
    ----------
    cutouts : CutoutSet
    labels : array of N str
    classes : list of str, those to show
    """
    most = COLUMNS * int(np.clip(9 // len(classes), 1, 3))
    mosaics, titles, shown = [], [], 0
    for name in classes:
        rows = np.flatnonzero(labels == name)
        rows = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]
        mosaics.append(_mosaic(np.nan_to_num(upright(cutouts[rows])).clip(0, 1)))
        titles.append("" if name == "all" else _short(name, 60))
        shown += len(rows)
    heights = [8 * mosaic.shape[0] / mosaic.shape[1] for mosaic in mosaics]  # inches
    figure = Figure(figsize=(8, sum(heights) + 0.35 * len(classes)), layout="constrained")
    axes = figure.subplots(len(classes), 1, height_ratios=heights, squeeze=False)[:, 0]
    for ax, mosaic, title in zip(axes, mosaics, titles, strict=True):
        ax.imshow(mosaic, origin="upper")
        ax.set_title(title, loc="left", fontsize=12, parse_math=False)
        ax.axis("off")
    of = "" if classes == ["all"] else f" of {_listed(classes)}, class by class"
    return figure, f"Contact sheet: {shown} cutouts in colour{of}."


def _mosaic(pictures):
    """Pictures of shape (K, H, W, 3), first row on top, side by side in one picture with white gaps."""
    count, height, width, _ = pictures.shape
    gap = max(1, height // 24)
    mosaic = np.ones((-(-count // COLUMNS) * (height + gap), COLUMNS * (width + gap), 3))
    for i, picture in enumerate(pictures):
        top, left = i // COLUMNS * (height + gap), i % COLUMNS * (width + gap)
        mosaic[top : top + height, left : left + width] = picture
    return mosaic


def magnitudes(cutouts, labels, classes):
    """Histograms of the model magnitude in r."""
    return _histograms(cutouts, labels, classes, "modelMag_r", "r (mag)", "r magnitude")


def redshifts(cutouts, labels, classes):
    """Histograms of the redshift."""
    return _histograms(cutouts, labels, classes, "redshift", "redshift", "redshift")


@in_course_style
def _histograms(cutouts, labels, classes, column, axis_label, name):
    """A panel a class, all with the same bins; parameters as of `contact_sheet`."""
    values = _numbers(cutouts, column)
    values[~(np.abs(values) < MOST)] = np.nan
    if np.isnan(values).all():
        return None, ""
    low, high = np.nanmin(values), np.nanmax(values)
    bins = np.linspace(low, high, 31) if high > low else np.array([low - 0.5, low + 0.5])
    columns = min(4 if len(classes) < 9 else 5, len(classes))
    rows = -(-len(classes) // columns)
    figure = Figure(figsize=(8, 0.5 + 2.0 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, squeeze=False)
    medians = []
    for ax, label in zip(axes.flat, classes, strict=False):
        chosen = values[(labels == label) & np.isfinite(values)]
        ax.hist(chosen, bins, color=COLOURS[0])
        ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        title = f"{len(chosen):,} objects" if label == "all" else f"{_short(label, 18)}: {len(chosen):,}"
        ax.set_title(title, fontsize=10, parse_math=False)
        if len(chosen):
            medians.append(f"{label} {np.median(chosen):z.2f}")
    for ax in axes.flat[len(classes) :]:
        ax.axis("off")
    for ax in axes.flat[max(0, len(classes) - columns) : len(classes)]:
        ax.tick_params(labelbottom=True)
    figure.supxlabel(axis_label, fontsize=11)
    figure.supylabel("objects", fontsize=11)
    a_class = "" if classes == ["all"] else ", a panel a class"
    return figure, f"Histograms of {name}{a_class}, from {low:z.2f} to {high:z.2f}. Medians: {', '.join(medians)}."


@in_course_style
def sky_map(cutouts, labels, classes):
    """Where the objects of all classes are: the whole sky in Mollweide's projection."""
    ra, dec = _numbers(cutouts, "ra"), _numbers(cutouts, "dec")
    known = np.isfinite(ra) & np.isfinite(dec)
    if not known.any():
        return None, ""
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    ax = figure.add_subplot(projection="mollweide")
    # Seen from inside, right ascension grows to the left; 180 degrees are in the middle, and so is the survey.
    x, y = np.radians(180 - ra % 360), np.radians(dec)
    ax.scatter(x[known], y[known], s=12, color=COLOURS[0], alpha=0.5, linewidths=0)
    longitudes = np.arange(-120, 121, 60)
    ax.set_xticks(np.radians(longitudes), [f"{180 - x}°" for x in longitudes])
    ax.set_latitude_grid(30)
    ax.set_xlabel("right ascension (deg, ICRS), growing to the left", labelpad=12)
    ax.set_ylabel("declination (deg)")
    dec_range = f"declination {dec[known].min():.1f} to {dec[known].max():.1f} degrees"
    return figure, f"Map of the whole sky (Mollweide) with {known.sum():,} objects at {dec_range}."


def _numbers(cutouts, column):
    """A column as float, NaN where unknown or where there is no such column of numbers."""
    if column not in cutouts.catalogue.colnames or cutouts.catalogue[column].dtype.kind not in "fiu":
        return np.full(len(cutouts), np.nan)
    return as_floats(cutouts.catalogue[column])


def _short(text, length):
    return text if len(text) <= length else text[: length - 1] + "…"


def _listed(names):
    return ", ".join(_short(name, 18) for name in names)
