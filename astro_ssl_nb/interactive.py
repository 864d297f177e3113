"""An interactive map of a representation: one HTML page that needs no network, nor a running kernel."""

import base64
import html
import io
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
from bokeh.embed import file_html
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.plotting import figure
from bokeh.resources import INLINE
from PIL import Image

from astro_ssl_nb.pictures import upright
from astro_ssl_nb.style import class_colours

# A page carries a picture per object: with more than this it would be slow to open.
MOST = 800
PICTURE_SIDE = 80  # pixels on the screen; a tooltip must fit beside its point on a phone
MARKERS = ("circle", "triangle", "square", "diamond", "inverted_triangle", "star", "hex")


def interactive_map(xy, cutouts, *, label="class", columns=("objid",), title="Map", seed=0):
    """A map whose points show, under the mouse, the cutout and its catalogue row.

    As the result of a cell it is drawn in JupyterLab and in the book; `.save(path)` writes it as a page of its own.

    Parameters
    ----------
    xy : ndarray of shape (N, 2)
        Where each object lies, from `tsne_map`.
    cutouts : CutoutSet of N
        Of more than 800 objects a random 800 are shown.
    label : str, default="class"
        The column that gives colour and marker; the legend switches each class off and on.
    columns : sequence of str, default=("objid",)
        What to show of the catalogue.
    title : str, default="Map"
        Also the name that a screen reader gives it.
    seed : int, default=0
        Of the objects that are drawn.

    Returns
    -------
    InteractiveMap

    Raises
    ------
    ValueError
        If `xy` does not give one point per object.
    KeyError
        If the catalogue lacks a column.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_ssl_nb import CutoutSet
    >>> table = Table({"objid": [7, 8], "class": ["STAR", "QSO"]})
    >>> cutouts = CutoutSet.from_arrays(np.ones((2, 5, 8, 8)), table)
    >>> interactive_map(np.eye(2), cutouts, columns=["objid"], title="Two objects")
    InteractiveMap: Two objects, 2 objects
    """
    xy = np.asarray(xy)
    if xy.shape != (len(cutouts), 2):
        raise ValueError(f"a map of shape {xy.shape} came with {len(cutouts)} cutouts: give one point (x, y) a cutout")
    missing = [name for name in columns if name not in cutouts.catalogue.colnames]
    if missing:
        raise KeyError(f"the catalogue has no column {', '.join(missing)}; it has {cutouts.catalogue.colnames}")
    rows = np.sort(np.random.default_rng(seed).permutation(len(cutouts))[:MOST])
    return InteractiveMap(xy[rows], cutouts[rows], label, tuple(columns), title)


class InteractiveMap:
    """What `interactive_map` returns."""

    def __init__(self, xy, cutouts, label, columns, title):
        self.title, self.n = title, len(cutouts)
        names, shown = cutouts.labels(label), (label, *columns)
        data = {
            "x": xy[:, 0],
            "y": xy[:, 1],
            "picture": _data_uris(cutouts),
            "alt": [f"cutout of a {name}" for name in names],
            # As text: an objid is too large for the numbers of JavaScript. Numbered: a column may be called x.
            **{f"shown {k}": [_as_text(v) for v in cutouts.catalogue[name]] for k, name in enumerate(shown)},
        }
        rows = "".join(f"<div><b>{html.escape(name)}</b>: @{{shown {k}}}</div>" for k, name in enumerate(shown))
        tooltip = (
            f'<div style="font-size:11px"><img src="@picture" alt="@alt" width="{PICTURE_SIDE}" '
            f'height="{PICTURE_SIDE}" style="image-rendering:pixelated;display:block">{rows}</div>'
        )
        self._plot = figure(
            title=title,
            sizing_mode="stretch_width",
            height=520,
            tools="pan,wheel_zoom,box_zoom,reset",
            toolbar_location="above",
            x_axis_label="first axis of the map (no unit)",
            y_axis_label="second axis (no unit)",
        )
        self._plot.toolbar.logo = None
        self._plot.axis.major_tick_line_color = self._plot.axis.minor_tick_line_color = None
        self._plot.axis.major_label_text_font_size = "0pt"
        self._plot.add_tools(HoverTool(tooltips=tooltip, point_policy="snap_to_data", limit=1))
        for marker, (name, colour) in zip(cycle(MARKERS), class_colours(names).items(), strict=False):
            chosen = np.flatnonzero(names == name)
            source = ColumnDataSource({column: [values[i] for i in chosen] for column, values in data.items()})
            self._plot.scatter(
                "x", "y", source=source, color=colour, marker=marker, size=8, alpha=0.7, legend_label=name
            )
        self._plot.legend.click_policy = "hide"
        self._plot.legend.orientation, self._plot.legend.location = "horizontal", "left"
        self._plot.add_layout(self._plot.legend[0], "below")

    def __repr__(self):
        return f"InteractiveMap: {self.title}, {self.n} objects"

    def _page(self):
        return file_html(self._plot, INLINE, self.title)

    def _repr_html_(self):
        # A frame of its own, so that the map needs nothing of the page around it and cannot disturb it.
        return (
            f'<iframe title="{html.escape(self.title)}" srcdoc="{html.escape(self._page())}" '
            'style="width:100%;height:560px;border:0;background:white" loading="lazy"></iframe>'
        )

    def save(self, path):
        """Write the map as one HTML file that needs nothing else; returns the Path."""
        path = Path(path)
        path.write_text(self._page(), encoding="utf-8")
        return path


def _data_uris(cutouts):
    """Each cutout as a PNG picture inside a URI."""
    pictures = (upright(cutouts) * 255).round().astype(np.uint8)
    uris = []
    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        uris.append("data:image/png;base64," + base64.b64encode(file.getvalue()).decode())
    return uris


def _as_text(value):
    if np.ma.is_masked(value) or pd.isna(value):
        return "unknown"
    return f"{value:.7g}" if isinstance(value, float | np.floating) else str(value)
