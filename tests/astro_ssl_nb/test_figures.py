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
        ssl.figures.plot_thumbnails(rng.normal(size=(300, 2)), blobs, title="blobs"),
        ssl.figures.plot_saliency(blobs[:3], rng.normal(size=(3, 16, 16)), list("abc"), unit="mag a pixel"),
    ]
    for fig in figures:
        assert inked(fig) > 0.01
        assert fig.get_facecolor()[:3] == (1, 1, 1)


def test_a_map_of_pictures_shows_each_object_in_its_place(blobs):
    far_apart = np.array([[0, 0], [0, 1], [1, 0], [0.01, 0.01]])
    (axis,) = ssl.figures.plot_thumbnails(far_apart, blobs[:4]).axes
    corners = [image.get_extent() for image in axis.images]
    assert len(corners) == 3, "the last object shares the cell of the first"
    assert sorted((left > 5, low > 5) for left, _, low, _ in corners) == [(False, False), (False, True), (True, False)]
    at_top_left = next(image for image in axis.images if image.get_extent()[2] > 5)
    np.testing.assert_allclose(at_top_left.get_array(), ssl.figures.rgb(blobs.read([1]), blobs.bands)[0] ** 0.75)
    with pytest.raises(ValueError, match="came with 4 cutouts"):
        ssl.figures.plot_thumbnails(far_apart[:3], blobs[:4])


def test_pictures_of_neighbours_are_framed_by_their_class(blobs):
    axes = ssl.figures.show_neighbours(blobs, [0], np.array([[1, 2]])).axes
    frames = [matplotlib.colors.to_hex(ax.spines["left"].get_edgecolor()) for ax in axes]
    assert blobs.labels("class")[:3].tolist() == ["WIDE", "NARROW", "WIDE"]
    assert frames[0] == frames[2] != frames[1]


def test_a_class_has_one_colour_in_every_figure():
    two, three = ssl.figures.class_colours(["STAR", "GALAXY"]), ssl.figures.class_colours(["GALAXY", "QSO", "STAR"])
    assert two == {name: three[name] for name in two}
    mixed = ssl.figures.class_colours(["AGN", "GALAXY", "MERGER"])
    assert len(set(mixed.values())) == 3 and mixed["GALAXY"] == three["GALAXY"]


def test_confusion_says_shares_and_numbers():
    import pandas as pd

    answers = pd.DataFrame([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]], columns=["QSO", "STAR"])
    fig = ssl.figures.plot_confusion({"arm": answers}, np.array(["QSO", "QSO", "QSO", "STAR"]))
    axis = fig.axes[0]
    np.testing.assert_allclose(axis.images[0].get_array(), [[2 / 3, 1 / 3], [0, 1]])
    assert [text.get_text() for text in axis.texts] == ["67%\n(2)", "33%\n(1)", "0%\n(0)", "100%\n(1)"]
    assert (axis.get_ylabel(), axis.get_xlabel(), axis.get_title()) == ("true class", "predicted class", "arm")


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
