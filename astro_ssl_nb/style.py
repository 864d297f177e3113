"""The visual style of the course: colour-blind safe, opaque, legible on a phone, and said in words."""

from functools import wraps
from itertools import cycle
from weakref import WeakKeyDictionary

import matplotlib.pyplot as plt
import numpy as np
from IPython.core.getipython import get_ipython
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

# Okabe & Ito (2008), the palette that colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
CLASS_COLOURS = dict(zip(("GALAXY", "QSO", "STAR"), COLOURS, strict=False))
# For more classes than that has: five hues at a time, dark ones first.
MORE_COLOURS = [to_hex(plt.colormaps["tab20b"](k)) for shade in range(4) for k in range(shade, 20, 4)]
NAME_WIDTH = 1.3  # inches that a name takes in a legend
DESCRIPTIONS: WeakKeyDictionary = WeakKeyDictionary()  # of figures, by `describe`
STYLE: dict = {
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


def class_colours(labels):
    """A colour for each class, a dict in the order of their names; stars are of the same colour in every figure.

    Up to seven are of `COLOURS`; more than 27 classes share colours.

    Examples
    --------
    >>> class_colours(["STAR", "GALAXY"]) == {"GALAXY": COLOURS[0], "STAR": COLOURS[2]}
    True
    """
    names = [str(name) for name in np.unique(labels)]
    taken = {CLASS_COLOURS.get(name) for name in names}
    free = cycle(colour for colour in (*COLOURS, *MORE_COLOURS) if colour not in taken)
    return {name: CLASS_COLOURS[name] if name in CLASS_COLOURS else next(free) for name in names}


def legend_below(fig, handles, names, **options):
    """Draw a legend under a figure, and return the share of the height that it takes."""
    rows = -(-len(names) // max(1, int(fig.get_figwidth() / NAME_WIDTH)))
    fig.legend(handles, names, loc="lower center", ncols=-(-len(names) // rows), **options)
    return (0.12 + 0.25 * rows) / fig.get_figheight()  # inches


def describe(fig, caption, numbers=""):
    """Say in words what a figure shows: the book's caption, and what browsers read out to those who cannot see it.

    Notebooks keep both beside the picture, as metadata of the output.

    Parameters
    ----------
    fig : matplotlib Figure
    caption : str
        What is drawn, of what, with which intervals.
    numbers : str, default=""
        What there is to see in it. The alternative text is the caption and this.

    Returns
    -------
    Figure; the same

    Examples
    --------
    >>> fig, ax = plt.subplots()
    >>> _ = describe(fig, "Loss after each epoch of training.", "The loss falls from 1.2 to 0.3 in eight epochs.")
    """
    DESCRIPTIONS[fig] = {"caption": " ".join(caption.split()), "alt": " ".join(f"{caption} {numbers}".split())}
    formatter = getattr(get_ipython(), "display_formatter", None)  # where there is no notebook, there is none
    if formatter is not None:
        png = formatter.formatters["image/png"]
        draw = png.for_type(Figure)
        if draw is not None and not isinstance(draw, WithDescription):
            png.for_type(Figure, WithDescription(draw))
    return fig


class WithDescription:
    """How a notebook draws a figure, and what `describe` said of it beside the picture."""

    def __init__(self, draw):
        self.draw = draw

    def __call__(self, fig):
        drawn = self.draw(fig)
        if drawn is None:  # a figure without axes
            return None
        picture, size = drawn if isinstance(drawn, tuple) else (drawn, {})  # retina's come with their size
        return picture, size | DESCRIPTIONS.get(fig, {})
