"""Cutouts as pictures, and the visual style of the course: colour-blind safe, opaque, legible on a phone."""

from functools import wraps

import matplotlib.pyplot as plt
import numpy as np
import torch

from astro_ssl_nb.stretch import lupton_rgb

# Okabe & Ito (2008), the palette that colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLE = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.dpi": 110,
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "image.origin": "lower",
    "image.interpolation": "nearest",
}


def in_course_style(draw):
    """Decorator: draw in the course's style, and leave the reader's own style alone."""

    @wraps(draw)
    def styled(*args, **kwargs):
        with plt.rc_context(STYLE):
            return draw(*args, **kwargs)

    return styled


def rgb(images, bands):
    """Colour pictures of cutouts, float array of shape (N, H, W, 3) from 0 to 1.

    Parameters
    ----------
    images : ndarray of shape (N, B, H, W)
        Flux in nanomaggies (i, r, g become red, green, blue), or uint8 pictures.
    bands : sequence of str
    """
    images, bands = np.asarray(images), list(bands)
    if images.dtype == np.uint8:
        return images.transpose(0, 2, 3, 1) / 255
    planes = [bands.index(band) for band in "irg"] if set("irg") <= set(bands) else [0, len(bands) // 2, -1]
    return lupton_rgb(torch.from_numpy(images[:, planes].astype(np.float32))).numpy().transpose(0, 2, 3, 1)


@in_course_style
def show_cutouts(cutouts, titles=None, *, columns=8, width=8.0):
    """A contact sheet of cutouts as colour pictures.

    Parameters
    ----------
    cutouts : CutoutSet of a few dozen at most
    titles : sequence of str, optional
    columns : int, default=8
    width : float, default=8.0
        Inches.
    """
    pictures = rgb(cutouts.images, cutouts.bands)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    side = width / columns
    fig, axes = plt.subplots(
        rows, columns, figsize=(width, rows * (side + (0.25 if titles is not None else 0.05))), squeeze=False
    )
    for ax in axes.flat:
        ax.axis("off")
    for i, (ax, picture) in enumerate(zip(axes.flat, pictures, strict=False)):
        ax.imshow(picture, origin="upper" if cutouts.is_picture else "lower")
        if titles is not None:
            ax.set_title(titles[i], fontsize=8)
    fig.tight_layout(pad=0.3)
    return fig


@in_course_style
def show_bands(cutouts, row):
    """One object in each band (asinh stretch) and in colour."""
    one = cutouts[[row]]
    image = one.images[0]
    fig, axes = plt.subplots(1, len(image) + 1, figsize=(1.6 * (len(image) + 1), 2.0))
    top = np.arcsinh(np.percentile(image, 99.8) / 0.05)
    for ax, plane, band in zip(axes, image, one.bands, strict=False):
        ax.imshow(np.arcsinh(plane / 0.05), cmap="gray", vmin=-1, vmax=top)
        ax.set_title(band)
    axes[-1].imshow(rgb(one.images, one.bands)[0])
    axes[-1].set_title("i, r, g as RGB")
    for ax in axes:
        ax.axis("off")
    fig.tight_layout(pad=0.3)
    return fig


@in_course_style
def show_batch(batch, loader, *, predictions=None, max_n=9):
    """Cutouts of one batch as the network sees them, with target and, if given, prediction."""
    x, *targets = batch
    x = x[:max_n].detach().cpu().numpy()
    low, high = np.percentile(x, 1), np.percentile(x, 99.5)
    planes = [0, x.shape[1] // 2, -1]
    pictures = ((x[:, planes] - low) / (high - low)).clip(0, 1).transpose(0, 2, 3, 1)
    outputs = [*targets, *([] if predictions is None else [predictions])]
    titles = ["\n→ ".join(loader.describe(output[i]) for output in outputs) for i in range(len(pictures))]
    n_lines = max(title.count("\n") + 1 for title in titles)
    columns = int(np.ceil(np.sqrt(len(pictures))))
    rows = -(-len(pictures) // columns)
    figsize = (2.0 * columns, (2.0 + 0.17 * n_lines) * rows)
    fig, axes = plt.subplots(rows, columns, figsize=figsize, squeeze=False, layout="constrained")
    for ax in axes.flat:
        ax.axis("off")
    for ax, picture, title in zip(axes.flat, pictures, titles, strict=False):
        ax.imshow(picture)
        ax.set_title(title, fontsize=8)
    return fig


@in_course_style
def show_neighbours(cutouts, queries, neighbours):
    """Picture rows: each query at the left, its nearest neighbours in feature space beside it.

    Parameters
    ----------
    cutouts : CutoutSet
    queries : sequence of Q rows
    neighbours : ndarray of shape (Q, K), rows
    """
    rows = np.column_stack([queries, neighbours])
    pictures = rgb(cutouts.read(rows.ravel()), cutouts.bands).reshape(*rows.shape, *cutouts.read([0]).shape[2:], 3)
    fig, axes = plt.subplots(*rows.shape, figsize=(1.0 * rows.shape[1], 1.05 * rows.shape[0]), squeeze=False)
    for i, j in np.ndindex(*rows.shape):
        axes[i, j].imshow(pictures[i, j])
        axes[i, j].set_xticks([])
        axes[i, j].set_yticks([])
        axes[i, j].grid(False)
        if j == 0:
            for spine in axes[i, j].spines.values():
                spine.set(visible=True, color=COLOURS[1], linewidth=2)
    axes[0, 0].set_title("query", fontsize=9)
    fig.tight_layout(pad=0.2)
    return fig
