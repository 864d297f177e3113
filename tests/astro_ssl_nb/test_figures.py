import matplotlib
import numpy as np
import pytest

import astro_ssl_nb as ssl

matplotlib.use("agg")


def inked(fig):
    """Share of the drawn figure that is not background."""
    fig.canvas.draw()
    return (np.asarray(fig.canvas.buffer_rgba())[..., :3] < 250).any(axis=2).mean()


def test_figures_draw_what_they_are_given(blobs, parts):
    labels = blobs.labels("class")
    truth = ssl.property_values(blobs.catalogue, ssl.MAGNITUDES)
    rng = np.random.default_rng(0)
    figures = [
        ssl.figures.show_cutouts(blobs[:10], labels[:10]),
        ssl.figures.show_bands(blobs, 3),
        ssl.figures.plot_magnitude_error(truth, truth + 0.1, np.full_like(truth, 0.05), list("ugriz")),
        ssl.figures.plot_map(rng.normal(size=(300, 2)), labels),
        ssl.figures.show_neighbours(blobs, [0, 1], np.array([[2, 4], [3, 5]])),
    ]
    for fig in figures:
        assert inked(fig) > 0.01
        assert fig.get_facecolor()[:3] == (1, 1, 1)


def test_colour_pictures_show_the_i_band_as_red(blobs):
    images = np.zeros((1, 5, 8, 8), "float32")
    images[0, 3] = 5
    picture = ssl.figures.rgb(images, "ugriz")
    assert picture.shape == (1, 8, 8, 3)
    assert picture[..., 0].min() > 0.2 and picture[..., 1:].max() == 0


def test_a_label_curve_has_a_line_an_arm(blobs):
    import pandas as pd

    rows = [(arm, "linear", n, s, 0.5 + 0.1 * s) for arm in ("pretext", "scratch") for n in (5, 10) for s in range(3)]
    curve = pd.DataFrame(rows, columns=["arm", "probe", "n_labels", "seed", "accuracy"])
    (axis,) = ssl.figures.plot_label_curve(curve).axes
    assert [line.get_label() for line in axis.lines] == ["pretext", "scratch"]
    np.testing.assert_allclose(axis.lines[0].get_ydata(), [0.6, 0.6])


def test_differences_stand_where_the_table_says(blobs):
    import pandas as pd

    rows = [("sg", "sizes", 0.1, 0.05, 0.2), ("sg", "colours", -0.1, -0.2, 0.0), ("mg", "sizes", 0.3, 0.2, 0.4)]
    fig = ssl.figures.plot_differences(pd.DataFrame(rows, columns=["task", "recipe", "mean", "low", "high"]), "x")
    assert [ax.get_title() for ax in fig.axes] == ["SG", "MG"]
    (points,) = fig.axes[0].containers
    np.testing.assert_allclose(np.asarray(points[0].get_xdata(), float), [0.1, -0.1])
    (bars,) = (line.get_segments() for line in points[2])
    np.testing.assert_allclose(np.array(bars)[:, :, 0], [[0.05, 0.2], [-0.2, 0.0]])


def test_reliability_and_redshifts_show_the_numbers_they_got():
    import pandas as pd

    sure = pd.DataFrame(np.tile([0.75, 0.25], (40, 1)), columns=["A", "B"])
    fig = ssl.figures.plot_reliability({"arm": sure}, np.array(["A"] * 30 + ["B"] * 10))
    np.testing.assert_allclose(fig.axes[0].lines[1].get_xydata(), [[0.75, 0.75]])
    z = np.linspace(0.1, 0.5, 50)
    fig = ssl.figures.plot_redshifts(z, {"network": z + 0.01}, np.linspace(0, 1, 50))
    np.testing.assert_allclose(fig.axes[0].collections[0].get_offsets()[:, 1], z + 0.01)
    assert len(fig.axes) == 2 and len(fig.axes[1].patches) == 10


def test_the_reader_keeps_their_own_style(blobs):
    before = matplotlib.rcParams["font.size"]
    ssl.figures.show_cutouts(blobs[:2])
    assert matplotlib.rcParams["font.size"] == before


@pytest.mark.parametrize("name", ["figures", "CutoutSet", "label_curve"])
def test_public_names_are_listed(name):
    assert name in dir(ssl)
