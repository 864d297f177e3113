"""Cutouts as pictures."""

from itertools import groupby

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import LinearSegmentedColormap
from scipy.ndimage import gaussian_filter

from astro_ssl_nb.stretch import colour_planes, lupton_rgb
from astro_ssl_nb.style import COLOURS, class_colours, describe, in_course_style, legend_below

WIDTH = 8.0  # inches of a contact sheet
MAP_CELLS = 14  # of a map of pictures, along each axis: more would be too small for a phone
GAMMA = 0.75  # brightens faint pixels where pictures are small


def rgb(images, bands):
    """Colour pictures of cutouts, float array of shape (N, H, W, 3) from 0 to 1.

    Parameters
    ----------
    images : ndarray of shape (N, B, H, W)
        Flux in nanomaggies, in the colours of `colour_planes`, or uint8 pictures.
    bands : sequence of str
    """
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images.transpose(0, 2, 3, 1) / 255
    flux = images[:, colour_planes(bands)].astype(np.float32)
    return lupton_rgb(torch.from_numpy(flux)).numpy().transpose(0, 2, 3, 1)


def upright(cutouts):
    """Colour pictures as `rgb` makes them, the first row on top."""
    pictures = rgb(cutouts.images, cutouts.bands)
    return pictures if cutouts.is_picture else pictures[:, ::-1]


def origin_of(cutouts):
    """Where row 0 is drawn: pictures begin at the top, frames of the sky at the bottom."""
    return "upper" if cutouts.is_picture else "lower"


@in_course_style
def show_cutouts(cutouts, titles=None, *, columns=8):
    """A contact sheet of cutouts as colour pictures.

    Parameters
    ----------
    cutouts : CutoutSet of a few dozen at most
    titles : sequence of str, optional
    columns : int, default=8

    Raises
    ------
    ValueError
        If there is no cutout.
    """
    if not len(cutouts):
        raise ValueError("0 cutouts came to be shown: give one or more")
    titles = None if titles is None else list(titles)  # of a Series too, by place and not by its index
    if titles is not None and len(titles) != len(cutouts):
        raise ValueError(f"{len(cutouts)} cutouts came with {len(titles)} titles: give each its own")
    pictures = rgb(cutouts.images, cutouts.bands)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    side = WIDTH / columns
    fig, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, rows * (side + (0.25 if titles is not None else 0.05))), squeeze=False
    )
    for ax in axes.flat:
        ax.axis("off")
    for i, (ax, picture) in enumerate(zip(axes.flat, pictures, strict=False)):
        ax.imshow(picture, origin=origin_of(cutouts))
        if titles is not None:
            ax.set_title(titles[i], fontsize=8)
    fig.tight_layout(pad=0.3)
    caption = f"{len(pictures)} cutouts of {cutouts.shape[-1]} pixels a side as colour pictures."
    runs = [(name, len(list(same))) for name, same in groupby(map(str, [] if titles is None else titles))]
    named = ", ".join(name if n == 1 else f"{n} titled {name}" for name, n in runs)
    grey = ", ".join(f"{brightness:.2f}" for brightness in pictures.mean(axis=(1, 2, 3)))
    return describe(fig, caption, f"In their order: {named or f'mean brightness, from 0 to 1, {grey}'}.")


@in_course_style
def show_bands(cutouts, row):
    """One object in each band (asinh stretch) and in colour."""
    one = cutouts[[row]]
    image, origin = one.images[0], origin_of(cutouts)
    fig, axes = plt.subplots(1, len(image) + 1, figsize=(1.6 * (len(image) + 1), 2.0))
    of_colours = ", ".join(one.bands[k] for k in colour_planes(one.bands))
    top = np.arcsinh(np.percentile(image, 99.8) / 0.05)
    for ax, plane, band in zip(axes, image, one.bands, strict=False):
        ax.imshow(np.arcsinh(plane / 0.05), cmap="gray", vmin=-1, vmax=top, origin=origin)
        ax.set_title(band)
    axes[-1].imshow(rgb(one.images, one.bands)[0], origin=origin)
    axes[-1].set_title(f"{of_colours} as RGB")
    for ax in axes:
        ax.axis("off")
    fig.tight_layout(pad=0.3)
    peaks = ", ".join(f"{band} {plane.max():.2g}" for band, plane in zip(one.bands, image, strict=True))
    return describe(
        fig,
        f"One object in the bands {', '.join(one.bands)}, all in the same grey scale (asinh stretch), and in colour: "
        f"{of_colours} as red, green and blue.",
        f"Brightest pixels: {peaks}.",
    )


@in_course_style
def show_batch(batch, loader, *, predictions=None, max_n=9):
    """Cutouts of one batch as the network sees them, with target and, if given, prediction."""
    x, *targets = batch
    x = x[:max_n].detach().cpu().numpy()
    low, high = np.percentile(x, 1), np.percentile(x, 99.5)
    stretch = loader.stretch  # whose channels are red, green and blue already, unless they are bands
    planes = [0, 1, 2] if stretch.kind == "rgb" else colour_planes(stretch.bands)
    pictures = ((x[:, planes] - low) / (high - low)).clip(0, 1).transpose(0, 2, 3, 1)
    outputs = [*targets, *([] if predictions is None else [predictions])]
    titles = ["\n→ ".join(loader.describe(output[i]) for output in outputs) for i in range(len(pictures))]
    n_lines = max(title.count("\n") + 1 for title in titles)
    width = max(2.0, 0.075 * max(len(line) for title in titles for line in title.split("\n")))
    columns = int(np.ceil(np.sqrt(len(pictures))))
    rows = -(-len(pictures) // columns)
    figsize = (width * columns, (2.0 + 0.17 * n_lines) * rows)
    fig, axes = plt.subplots(rows, columns, figsize=figsize, squeeze=False, layout="constrained")
    for ax in axes.flat:
        ax.axis("off")
    for ax, picture, title in zip(axes.flat, pictures, titles, strict=False):
        ax.imshow(picture, origin=origin_of(loader.cutouts))
        ax.set_title(title, fontsize=8)
    caption = f"{len(pictures)} cutouts as the network sees them, with what it has to say of each"
    caption += "." if predictions is None else " and, after the arrow, what it said."
    return describe(fig, caption, f"{'; '.join(titles)}.")


@in_course_style
def show_neighbours(cutouts, queries, neighbours, *, label="class"):
    """Picture rows: each query at the left, its nearest neighbours in feature space beside it, framed by class.

    Parameters
    ----------
    cutouts : CutoutSet
    queries : sequence of Q rows
    neighbours : ndarray of shape (Q, K), rows
    label : str, default="class"
    """
    rows = np.column_stack([queries, neighbours])
    shown = cutouts[rows.ravel()]
    names, colour_of = shown.labels(label).reshape(rows.shape), class_colours(cutouts.labels(label))
    pictures = rgb(shown.images, shown.bands) ** GAMMA
    pictures = pictures.reshape(*rows.shape, *pictures.shape[1:])
    fig, axes = plt.subplots(*rows.shape, figsize=(rows.shape[1], 1.05 * rows.shape[0] + 0.4), squeeze=False)
    for i, j in np.ndindex(*rows.shape):
        axes[i, j].imshow(pictures[i, j], origin=origin_of(cutouts))
        axes[i, j].set(xticks=[], yticks=[])
        axes[i, j].grid(False)
        axes[i, j].spines[:].set(visible=True, color=colour_of[names[i, j]], linewidth=2.5)
    axes[0, 0].set_title("query", fontsize=10)
    axes[0, 1].set_title("nearest", fontsize=10)
    room = _class_legend(fig, colour_of)
    fig.tight_layout(pad=0.3, w_pad=0.8, rect=(0, room, 1, 1))
    caption = (
        f"In each row a query at the left, and beside it the {rows.shape[1] - 1} objects nearest to it in feature "
        "space; borders have the colours of the classes."
    )
    same = [f"{np.sum(row[1:] == row[0])} of a {row[0]}" for row in names]
    return describe(fig, caption, f"Neighbours of the class of the query: {', '.join(same)}.")


@in_course_style
def plot_thumbnails(xy, cutouts, *, label="class", title=""):
    """A map drawn with the objects themselves, framed in the colour of their class.

    The map is laid out in square cells; each shows the object nearest to its middle, so that pictures never overlap.
    Faint pixels are brightened, for the pictures are small.

    Parameters
    ----------
    xy : ndarray of shape (N, 2)
        Where each object lies, from `tsne_map`.
    cutouts : CutoutSet of N
    label : str, default="class"
    title : str

    Raises
    ------
    ValueError
        If `xy` does not give one point per object.
    """
    if np.shape(xy) != (len(cutouts), 2):
        raise ValueError(f"a map of shape {np.shape(xy)} came with {len(cutouts)} cutouts: give one point per cutout")
    low, high = np.min(xy, axis=0), np.max(xy, axis=0)
    places = (xy - low) / (high - low) * (MAP_CELLS - 1e-6)
    cell_of, off_middle = places.astype(int), ((places % 1 - 0.5) ** 2).sum(axis=1)
    nearest_first = np.argsort(off_middle, kind="stable")
    _, first = np.unique(cell_of[nearest_first], axis=0, return_index=True)
    shown = nearest_first[first]
    names = cutouts.labels(label)
    colour_of = class_colours(names)
    fig, ax = plt.subplots(figsize=(6.5, 6.9))
    for picture, row in zip(rgb(cutouts.read(shown), cutouts.bands) ** GAMMA, shown, strict=True):
        x, y = cell_of[row]
        ax.add_patch(plt.Rectangle((x + 0.02, y + 0.02), 0.96, 0.96, color=colour_of[names[row]], linewidth=0))
        inside = (x + 0.09, x + 0.91, y + 0.09, y + 0.91)
        ax.imshow(picture, extent=inside, origin=origin_of(cutouts), zorder=2)
    ends = (-0.2, MAP_CELLS + 0.2)
    ax.set(xlim=ends, ylim=ends, xticks=[], yticks=[], aspect="equal", title=title)
    ax.set(xlabel="first axis of the map (no unit)", ylabel="second axis (no unit)")
    room = _class_legend(fig, colour_of)
    fig.tight_layout(rect=(0, room, 1, 1))
    drawn = ", ".join(
        f"{count} {name}" for name, count in zip(*np.unique(names[shown], return_counts=True), strict=True)
    )
    return describe(
        fig,
        f"Map of {len(cutouts)} objects{title and f' ({title})'}, drawn with the {len(shown)} that lie nearest to the "
        f"middles of its cells; borders have the colours of the classes: {', '.join(colour_of)}.",
        f"Drawn are {drawn}.",
    )


@in_course_style
def plot_saliency(cutouts, maps, titles, *, unit):
    """Cutouts, and beneath each what its pixels add to an answer, with the outline of its light.

    Parameters
    ----------
    cutouts : CutoutSet of N, six at most
    maps : ndarray of shape (N, H, W)
        From `saliency`.
    titles : sequence of N str
    unit : str
        What the colours measure, such as "mag per pixel".
    """
    pictures = rgb(cutouts.images, cutouts.bands) ** GAMMA
    n = len(pictures)
    fig, axes = plt.subplots(2, n, figsize=(1.3 * n + 0.9, 3.1), squeeze=False, layout="constrained")
    origin = origin_of(cutouts)
    colours = LinearSegmentedColormap.from_list("against and for", [COLOURS[1], "white", COLOURS[0]])
    top = np.percentile(np.abs(maps), 99.5)
    for ax, picture, values, title in zip(axes.T, pictures, maps, titles, strict=True):
        ax[0].imshow(picture, origin=origin)
        ax[0].set_title(title, fontsize=10)
        drawn = ax[1].imshow(values, origin=origin, cmap=colours, vmin=-top, vmax=top)
        light = gaussian_filter(picture.mean(axis=-1), 1)
        if np.ptp(light):
            levels = light.min() + np.array([0.4, 0.8]) * np.ptp(light)
            ax[1].contour(light, levels, origin=origin, colors="black", linewidths=0.7)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
        ax.spines[:].set(visible=True, color="0.6")
    axes[0, 0].set_ylabel("cutout")
    axes[1, 0].set_ylabel("saliency")
    fig.colorbar(drawn, ax=axes, label=unit, aspect=30, extend="both")
    said = ", ".join(str(title).replace("\n", ": ") for title in titles)
    caption = (
        f"{n} cutouts, and beneath each what its pixels add to the answer (blue) or take from it (orange), in {unit}; "
        "lines are contours of its light."
    )
    return describe(fig, caption, f"{said}.")


def _class_legend(fig, colour_of):
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in colour_of.values()]
    return legend_below(fig, handles, list(colour_of))
