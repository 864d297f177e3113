"""Figures behind a slider: a part of the page itself, which needs neither a network nor a running kernel."""

import html

import matplotlib.pyplot as plt
from IPython.core.pylabtools import print_figure

from astro_ssl_nb.style import DESCRIPTIONS

SHOW = (
    "const f=this.closest('figure'), n=+this.value, i=f.querySelectorAll('img');"
    "i.forEach((image, k) => image.hidden = k != n);"
    "f.querySelector('output').value = this.ariaValueText = i[n].title;"
)


class FigureSlider:
    """Flip through figures with a slider, in JupyterLab and in the book; without a browser's help the first is seen.

    Parameters
    ----------
    figures : dict of value -> matplotlib Figure
        In the order of the slider. They are closed.
    name : str
        What the slider changes.
    caption : str
        What the figures show. Those who cannot see them are told this, the value, and what `figures.describe` said of a
        figure.

    Raises
    ------
    ValueError
        If there are no two figures to choose from.

    Examples
    --------
    >>> FigureSlider({Q: plt.subplots()[0] for Q in (1, 10)}, name="Q", caption="A galaxy")
    FigureSlider: Q = 1, 10
    """

    def __init__(self, figures, *, name, caption):
        if len(figures) < 2:
            raise ValueError(f"a slider over {len(figures)} figures has nothing to choose: give two or more")
        self.name, self.caption = name, caption
        self.pictures, self.alts = {}, {}
        for value, figure in figures.items():
            said = DESCRIPTIONS.get(figure, {}).get("alt", "")
            self.alts[str(value)] = f"{caption}, {name} = {value}. {said}".strip()
            self.pictures[str(value)] = print_figure(figure, bbox_inches=None, base64=True)  # all of one size
            plt.close(figure)

    def __repr__(self):
        return f"FigureSlider: {self.name} = {', '.join(self.pictures)}"

    def _repr_html_(self):
        images = "".join(
            f'<img src="data:image/png;base64,{picture}" title="{html.escape(value)}" style="max-width:100%"'
            f' alt="{html.escape(self.alts[value])}"{" hidden" if k else ""}>'
            for k, (value, picture) in enumerate(self.pictures.items())
        )
        name, first = html.escape(self.name), html.escape(next(iter(self.pictures)))
        return (
            '<figure style="background:white;color:black;margin:0;padding:0.5em">'
            f'<label>{name} <input type="range" min="0" max="{len(self.pictures) - 1}" step="1" value="0" '
            f'aria-valuetext="{first}" oninput="{html.escape(SHOW)}" '
            'data-lm-suppress-shortcuts="true" '  # or JupyterLab takes the arrow keys for its own
            'style="width:12em;max-width:100%;vertical-align:middle"></label> '
            f"<output>{first}</output><div>{images}</div>"
            f'<figcaption style="color:black">{html.escape(self.caption)}.</figcaption></figure>'  # in dark pages too
        )
