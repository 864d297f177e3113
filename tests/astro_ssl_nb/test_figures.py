import matplotlib.pyplot
import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

import astro_ssl_nb as ssl
from astro_ssl_nb.style import WithDescription

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def closed():
    """Close what a test drew."""
    yield
    matplotlib.pyplot.close("all")


def drawn(axes):
    """The images of the axes, the one of each."""
    return [np.asarray(image.get_array()) for ax in axes for image in ax.images]


def test_a_contact_sheet_shows_every_cutout_under_its_title(blobs):
    axes = ssl.figures.show_cutouts(blobs[:10], blobs.labels("class")[:10]).axes
    np.testing.assert_allclose(drawn(axes), ssl.figures.rgb(blobs.images[:10], blobs.bands))
    assert [ax.get_title() for ax in axes] == ["WIDE", "NARROW"] * 5 + [""] * 6


@pytest.mark.parametrize(("bands", "dtype", "origin"), [("gri", np.float32, "lower"), ("RGB", np.uint8, "upper")])
def test_the_first_row_of_a_picture_is_on_top_and_that_of_fluxes_below(bands, dtype, origin):
    cutouts = ssl.CutoutSet.from_arrays(np.zeros((1, 3, 8, 8), dtype), Table({"objid": [1]}), bands=bands)
    assert ssl.figures.show_cutouts(cutouts).axes[0].images[0].origin == origin


def test_an_object_is_shown_in_each_of_its_bands_and_in_colour(blobs):
    axes = ssl.figures.show_bands(blobs, 3).axes
    *bands, colour = drawn(axes)
    assert [ax.get_title() for ax in axes] == [*"ugriz", "i, r, g as RGB"]
    np.testing.assert_allclose(bands, np.arcsinh(blobs.images[3] / 0.05))
    np.testing.assert_allclose(colour, ssl.figures.rgb(blobs.read([3]), blobs.bands)[0])
    assert len({ax.images[0].get_clim() for ax in axes[:5]}) == 1, "one grey scale for all bands"


def test_errors_in_magnitudes_stand_beside_those_of_the_catalogue(blobs):
    truth = ssl.property_values(blobs.catalogue, ssl.MAGNITUDES)
    off = np.array([0.1, -0.2, 0.3, 0.4, 0.5])
    errors = np.broadcast_to(off**2, truth.shape)
    axes = ssl.figures.plot_magnitude_error(truth, truth + off, errors, list("ugriz")).axes
    assert [ax.get_title() for ax in axes] == list("ugriz")
    for ax, one in zip(axes, off, strict=True):
        network, catalogue = ax.lines
        assert (network.get_label(), catalogue.get_label()) == ("network", "catalogue's own error")
        np.testing.assert_allclose(network.get_ydata(), [abs(one)] * 8)
        np.testing.assert_allclose(catalogue.get_ydata(), [0.6745 * one**2] * 8)  # a median of normal errors
        np.testing.assert_array_equal(network.get_xdata(), catalogue.get_xdata())
        assert 16 < network.get_xdata()[0] < 17 and 19 < network.get_xdata()[-1] < 20
        assert (np.diff(network.get_xdata()) > 0).all()


def test_a_map_has_each_object_in_the_colour_of_its_class(blobs):
    labels, colours = blobs.labels("class"), ssl.figures.class_colours(["NARROW", "WIDE"])
    maps = [np.random.default_rng(seed).normal(size=(300, 2)) for seed in (0, 1)]
    fig = ssl.figures.plot_map(maps, labels, titles=["one", "other"])
    assert [ax.get_title() for ax in fig.axes] == ["one", "other"]
    for ax, xy in zip(fig.axes, maps, strict=True):
        for points, (name, colour) in zip(ax.collections, colours.items(), strict=True):
            np.testing.assert_array_equal(points.get_offsets(), xy[labels == name])
            assert matplotlib.colors.same_color(points.get_facecolor()[0][:3], colour)
    numbers = np.arange(300) % 3  # as a clustering gives them
    (axis,) = ssl.figures.plot_map(maps[0], numbers).axes
    assert [len(points.get_offsets()) for points in axis.collections] == [100] * 3


def test_neighbours_stand_beside_their_query(blobs):
    axes = ssl.figures.show_neighbours(blobs, [0, 1], np.array([[2, 4], [3, 5]])).axes
    np.testing.assert_allclose(drawn(axes), ssl.figures.rgb(blobs.read([0, 2, 4, 1, 3, 5]), blobs.bands) ** 0.75)
    assert [ax.get_title() for ax in axes] == ["query", "nearest", *[""] * 4]


def test_saliency_is_drawn_beneath_the_cutout_that_it_explains(blobs):
    maps = np.random.default_rng(0).normal(size=(3, 16, 16))
    *axes, bar = ssl.figures.plot_saliency(blobs[:3], maps, list("abc"), unit="mag per pixel").axes
    np.testing.assert_allclose(drawn(axes[:3]), ssl.figures.rgb(blobs.images[:3], blobs.bands) ** 0.75)
    np.testing.assert_array_equal(drawn(axes[3:]), maps)
    assert [ax.get_title() for ax in axes[:3]] == list("abc") and bar.get_ylabel() == "mag per pixel"
    low, high = axes[3].images[0].get_clim()
    assert low == -high, "what adds nothing is white"
    assert all(len(ax.collections) == 1 for ax in axes[3:]), "the outline of the light"


def test_figures_are_white_even_where_the_reader_likes_them_dark(blobs):
    with matplotlib.pyplot.style.context("dark_background"):
        figures = [
            ssl.figures.show_cutouts(blobs[:2]),
            ssl.figures.show_bands(blobs, 3),
            ssl.figures.plot_magnitude_error(*[np.arange(1.0, 41)[:, None]] * 3, "r"),
            ssl.figures.plot_map(np.eye(2), ["a", "b"]),
            ssl.figures.show_neighbours(blobs, [0], np.array([[1, 2]])),
            ssl.figures.plot_thumbnails(np.eye(2), blobs[:2]),
            ssl.figures.plot_saliency(blobs[:1], np.ones((1, 16, 16)), ["a"], unit="mag per pixel"),
        ]
        assert matplotlib.rcParams["figure.facecolor"] == "black"
    assert {fig.get_facecolor()[:3] for fig in figures} == {(1, 1, 1)}


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


def test_every_one_of_fifteen_classes_is_drawn_and_no_two_look_alike(blobs):
    names = np.array([f"type {k:02}" for k in range(15)])
    kinds = blobs[np.arange(300)]
    kinds.catalogue["kind"] = np.tile(names, 20)
    assert len(set(ssl.figures.class_colours([*names, "GALAXY"]).values())) == 16
    xy = np.random.default_rng(0).normal(size=(300, 2))
    (axis,) = ssl.figures.plot_map(xy, kinds.labels("kind").tolist()).axes
    assert [len(points.get_offsets()) for points in axis.collections] == [20] * 15
    assert len({len(points.get_paths()[0].vertices) for points in axis.collections}) == 3  # markers
    for fig in (
        ssl.figures.show_neighbours(kinds, [0], np.array([[1, 2]]), label="kind"),
        ssl.figures.plot_thumbnails(xy, kinds, label="kind"),
    ):
        assert [text.get_text() for text in fig.legends[0].get_texts()] == names.tolist()


def test_a_contact_sheet_of_nothing_is_refused(blobs):
    with pytest.raises(ValueError, match="0 cutouts came to be shown"):
        ssl.figures.show_cutouts(blobs[:0])


def test_confusion_says_shares_and_numbers():
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
    rows = [(arm, "linear", n, s, 0.5 + 0.1 * s) for arm in ("pretext", "scratch") for n in (5, 10) for s in range(3)]
    curve = pd.DataFrame(rows, columns=["arm", "probe", "n_labels", "seed", "accuracy"])
    (axis,) = ssl.figures.plot_label_curve(curve).axes
    assert [line.get_label() for line in axis.lines] == ["pretext", "scratch"]
    np.testing.assert_allclose(axis.lines[0].get_ydata(), [0.6, 0.6])
    table = ssl.mean_intervals(curve)
    bands = [band.get_paths()[0].vertices for band in axis.collections]
    assert [(band[:, 1].min(), band[:, 1].max()) for band in bands] == [(table.low[0], table.high[0])] * 2
    (axis,) = ssl.figures.plot_label_curve(curve[curve.n_labels == 5]).axes  # a band would have no width
    for bar in axis.collections:
        np.testing.assert_allclose(bar.get_segments(), [[[5, table.low[0]], [5, table.high[0]]]])
    assert len(axis.collections) == 2


def test_a_label_curve_says_how_many_draws_each_probe_had():
    rows = [("pretext", probe, 5, seed, 0.8) for probe, n in (("linear", 4), ("finetune", 2)) for seed in range(n)]
    curve = pd.DataFrame(rows, columns=["arm", "probe", "n_labels", "seed", "accuracy"])
    for some, said in ((curve, "4 draws of labels (finetune: 2)"), (curve[curve.seed < 2], "2 draws of labels")):
        _, described = WithDescription(lambda fig: "picture")(ssl.figures.plot_label_curve(some))
        assert described["caption"].endswith(f"95 % interval over {said}.")


def test_a_figure_says_in_words_what_it_shows(blobs):
    rows = [("pretext", "knn", n, seed, n / 100 + 0.1 * seed) for n in (5, 10) for seed in (0, 1)]
    curve = pd.DataFrame(rows, columns=["arm", "probe", "n_labels", "seed", "accuracy"])
    labels = blobs.labels("class")
    figures = {
        "test accuracy against labels per class": ssl.figures.plot_label_curve(curve),
        "pretext, knn: 0.100 with 5, 0.150 with 10": ssl.figures.plot_label_curve(curve),
        "Neighbours of the class of the query: 1 of": ssl.figures.show_neighbours(blobs, [0], np.array([[1, 2]])),
        "2 cutouts of 16 pixels": ssl.figures.show_cutouts(blobs[:2]),
        "In their order: 2 titled WIDE, NARROW": ssl.figures.show_cutouts(blobs[:3], ["WIDE", "WIDE", "NARROW"]),
        "Map of 300 objects": ssl.figures.plot_map(np.random.default_rng(0).normal(size=(300, 2)), labels),
    }
    for words, fig in figures.items():
        picture, said = WithDescription(lambda fig: "picture")(fig)
        assert picture == "picture" and words in said["alt"]
    size = {"width": 5}
    mine = ssl.figures.describe(matplotlib.pyplot.figure(), "Mine,\n in two lines.")
    beside = WithDescription(lambda fig: ("picture", size))(mine)
    assert beside == ("picture", {**size, "caption": "Mine, in two lines.", "alt": "Mine, in two lines."})


def test_a_legend_fits_into_its_figure(blobs):
    arms = ["pretext", "imagenet", "scratch", "photometry", "catalogue"]
    curve = pd.DataFrame([(arm, "linear", n, 0.8) for arm in arms for n in (5, 10)])
    fig = ssl.figures.plot_label_curve(curve.set_axis(["arm", "probe", "n_labels", "accuracy"], axis=1))
    fig.canvas.draw()
    legend = fig.legends[0].get_window_extent()
    assert 0 <= legend.x0 < legend.x1 <= fig.bbox.width


def test_a_cutout_without_light_has_a_saliency_figure(blobs):
    dark = ssl.CutoutSet.from_arrays(np.zeros((1, 5, 16, 16)), blobs.catalogue[:1])
    assert ssl.figures.plot_saliency(dark, np.ones((1, 16, 16)), ["dark"], unit="mag per pixel").axes


def test_an_eighth_arm_and_one_that_was_only_fine_tuned_are_drawn(blobs):
    arms = [f"arm {k}" for k in range(8)]
    rows = [(arm, "finetune" if arm == "arm 7" else "linear", n, 0.8) for arm in arms for n in (5, 10)]
    table = pd.DataFrame(rows, columns=["arm", "probe", "n_labels", "accuracy"])
    figure = ssl.figures.plot_label_curve(table)
    assert [len(ax.lines) for ax in figure.axes] == [7, 1]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == arms


def test_an_arm_has_one_colour_in_every_figure():
    def colour(style):
        return style[0]

    alone, beside = (ssl.figures.arm_styles(arms) for arms in (["scratch"], ["mine", "imagenet", "scratch"]))
    assert alone["scratch"] == beside["scratch"] == ssl.figures.arm_styles(["random"])["random"]
    assert len(set(map(colour, beside.values()))) == 3
    both = ssl.figures.arm_styles(["photometry", "magnitudes"])  # of one colour where they stand apart
    assert colour(both["photometry"]) != colour(both["magnitudes"])
    arms = ["photometry", "pretext"]
    wanted = [colour(style) for style in ssl.figures.arm_styles(arms).values()]
    curve = pd.DataFrame([(arm, "knn", n, 0.8) for arm in arms for n in (5, 10)])
    fig = ssl.figures.plot_label_curve(curve.set_axis(["arm", "probe", "n_labels", "accuracy"], axis=1))
    legend = fig.legends[0].get_lines()
    strata = pd.DataFrame([(arm, r, 0.8, 0.7, 0.9) for arm in arms for r in (18, 20)])
    strata = strata.set_axis(["arm", "r", "accuracy", "low", "high"], axis=1)
    sure = pd.DataFrame(np.tile([0.75, 0.25], (40, 1)), columns=["A", "B"])
    reliability = ssl.figures.plot_reliability(dict.fromkeys(arms, sure), np.array(["A"] * 40))
    lines = [
        fig.axes[0].lines,
        legend,
        ssl.figures.plot_strata({"r": strata}, {"r": "r"}).axes[0].lines,
        reliability.axes[0].lines[1:],
    ]
    assert [[line.get_color() for line in one] for one in lines] == [wanted] * 4
    # A marker is that of one probe, and the legend is of all panels.
    assert {line.get_marker() for line in legend} == {"None"} != {line.get_marker() for line in fig.axes[0].lines}
    z = np.linspace(0.1, 0.5, 50)
    fig = ssl.figures.plot_redshifts(z, {"network": z, "magnitudes": z}, z)
    points = [matplotlib.colors.to_hex(ax.collections[0].get_facecolor()[0][:3]) for ax in fig.axes[:2]]
    assert points == [one.lower() for one in wanted[::-1]]


def test_strata_show_each_arm_with_its_interval():
    rows = [("pretext", 18, 0.9, 0.8, 0.95), ("pretext", 20, 0.6, 0.5, 0.7), ("scratch", 18, 0.7, 0.6, 0.8)]
    table = pd.DataFrame(rows, columns=["arm", "modelMag_r", "accuracy", "low", "high"])
    (axis,) = ssl.figures.plot_strata({"modelMag_r": table}, {"modelMag_r": "r magnitude"}).axes
    assert (axis.get_xlabel(), [line.get_label() for line in axis.lines]) == ("r magnitude", ["pretext", "scratch"])
    np.testing.assert_allclose(axis.lines[0].get_xydata(), [[18, 0.9], [20, 0.6]])
    band = axis.collections[0].get_paths()[0].vertices
    assert {tuple(point) for point in band} == {(18, 0.8), (18, 0.95), (20, 0.5), (20, 0.7)}


def test_differences_stand_where_the_table_says(blobs):
    rows = [("sg", "sizes", 0.1, 0.05, 0.2), ("sg", "colours", -0.1, -0.2, 0.0), ("mg", "sizes", 0.3, 0.2, 0.4)]
    fig = ssl.figures.plot_differences(pd.DataFrame(rows, columns=["task", "recipe", "mean", "low", "high"]), "x")
    assert [ax.get_title() for ax in fig.axes] == ["SG", "MG"]
    (points,) = fig.axes[0].containers
    np.testing.assert_allclose(np.asarray(points[0].get_xdata(), float), [0.1, -0.1])
    (bars,) = (line.get_segments() for line in points[2])
    np.testing.assert_allclose(np.array(bars)[:, :, 0], [[0.05, 0.2], [-0.2, 0.0]])


def test_reliability_and_redshifts_show_the_numbers_they_got():
    sure = pd.DataFrame(np.tile([0.75, 0.25], (40, 1)), columns=["A", "B"])
    fig = ssl.figures.plot_reliability({"arm": sure}, np.array(["A"] * 30 + ["B"] * 10))
    np.testing.assert_allclose(fig.axes[0].lines[1].get_xydata(), [[0.75, 0.75]])
    numbers = pd.DataFrame(np.tile([0.75, 0.25], (40, 1)), columns=["0", "1"])
    fig = ssl.figures.plot_reliability({"arm": numbers}, np.array([0] * 30 + [1] * 10))
    np.testing.assert_allclose(fig.axes[0].lines[1].get_xydata(), [[0.75, 0.75]])
    (less,) = ssl.figures.plot_reliability({"arm": sure[:9]}, np.array(["A"] * 9)).axes
    assert less.lines[1].get_xydata().size == less.collections[0].get_offsets().size == 0, "nine are too few"
    mixed = pd.DataFrame([[0.95, 0.05]] * 10 + [[0.65, 0.35]] * 30, columns=["A", "B"])
    (both,) = ssl.figures.plot_reliability({"arm": mixed}, np.array(["A"] * 40)).axes
    np.testing.assert_allclose(both.collections[0].get_offsets(), [[0.65, 1], [0.95, 1]])
    assert both.collections[0].get_sizes()[0] > both.collections[0].get_sizes()[1]
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


def test_titles_are_taken_by_place_and_are_one_a_cutout(blobs):
    titles = pd.Series(list("abc"), index=[2, 1, 0])  # as answers with ids for an index come
    assert [ax.get_title() for ax in ssl.figures.show_cutouts(blobs[:3], titles).axes] == ["a", "b", "c"]
    with pytest.raises(ValueError, match="3 cutouts came with 2 titles"):
        ssl.figures.show_cutouts(blobs[:3], ["a", "b"])


def test_masked_numbers_are_drawn_as_unknown():
    rng = np.random.default_rng(0)
    true, magnitude = (np.ma.masked_greater(rng.uniform(0, 1, n), 0.9) for n in (50, (200, 1)))
    figure = ssl.figures.plot_redshifts(true, {"network": np.ma.getdata(true)}, [0.5, np.nan])
    assert 0.9 < figure.axes[0].get_xlim()[1] < 1
    shown = ssl.figures.plot_magnitude_error(magnitude, np.ma.getdata(magnitude), 0.1 * np.ones((200, 1)), ["r"])
    assert shown.axes[0].lines[0].get_xdata().max() < 0.9
