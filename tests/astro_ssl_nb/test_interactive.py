"""The interactive map and the slider, used as a reader does: a page on disk, a browser, a mouse."""

import base64
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy.table import Table
from PIL import Image

import astro_ssl_nb as ssl

TITLE = 'Blobs & "blobs"'


@pytest.fixture(scope="module")
def chart(blobs):
    xy = np.random.default_rng(0).normal(size=(300, 2))
    return ssl.interactive_map(xy, blobs, columns=["objid", "modelMag_u"], title=TITLE)


@pytest.fixture
def page(chromium):
    """A page without a network, and what it asked for and complained of."""
    context = chromium.new_context(viewport={"width": 390, "height": 800}, offline=True)
    page = context.new_page()
    page.requests, page.complaints = [], []
    page.on("request", lambda request: page.requests.append(request.url))
    page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    yield page
    context.close()


FIRST_POINT = """() => {
    const view = Object.values(Bokeh.index.roots ?? Bokeh.index)[0];
    const points = view.model.renderers[0].data_source.data;
    const {left, top} = view.canvas_view.el.getBoundingClientRect();
    return [left + view.frame.x_scale.compute(points.x[0]), top + view.frame.y_scale.compute(points.y[0])];
}"""


def test_a_point_shows_its_picture_and_its_row_without_a_network(chart, page, tmp_path, blobs):
    site = tmp_path / "page.html"
    body = f"<body><h1>Map</h1>{chart._repr_html_()}</body>"
    site.write_text(f"<!doctype html><html lang=en><head><meta charset=utf-8><title>Map</title></head>{body}</html>")
    page.goto(site.as_uri())
    frame = page.frame_locator("iframe")
    frame.locator("canvas").first.wait_for()
    x, y = frame.locator("body").evaluate(FIRST_POINT)
    corner = page.locator("iframe").bounding_box()
    page.mouse.move(corner["x"] + x - 3, corner["y"] + y)
    page.mouse.move(corner["x"] + x, corner["y"] + y)
    picture = frame.locator("img").first
    picture.wait_for()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 16
    assert picture.get_attribute("alt") == "cutout of a NARROW"
    first = np.flatnonzero(blobs.labels("class") == "NARROW")[0]
    row = picture.evaluate("image => image.parentElement.innerText").split("\n")
    magnitude = f"{blobs.catalogue['modelMag_u'][first]:.7g}"
    assert row == ["class: NARROW", f"objid: {blobs.catalogue['objid'][first]}", f"modelMag_u: {magnitude}"]
    assert page.locator("iframe").get_attribute("title") == TITLE
    assert [url for url in page.requests if not url.startswith(("file:", "data:", "about:"))] == []
    assert page.complaints == []


def test_columns_of_any_name_and_unknown_values_are_shown():
    table = Table({"class": ["A", "B"], "x": [10.0, np.nan], "picture": ["left", "right"]})
    cutouts = ssl.CutoutSet.from_arrays(np.ones((2, 5, 8, 8)), table)
    page = ssl.interactive_map(np.array([[0.25, 0.5], [0.75, 1.0]]), cutouts, columns=["x", "picture"])._repr_html_()
    for text in ("data:image/png", "unknown", "left", "right", "&quot;10&quot;"):
        assert text in page


@pytest.mark.parametrize(("bands", "dtype", "row"), [("gri", np.float32, 7), ("RGB", np.uint8, 0)])
def test_the_first_row_of_a_picture_is_on_top_and_that_of_fluxes_below(bands, dtype, row, tmp_path):
    images = np.zeros((2, 3, 8, 8), dtype)
    images[:, :, 0] = 50
    cutouts = ssl.CutoutSet.from_arrays(images, Table({"class": ["A", "B"]}), bands=bands)
    page = ssl.interactive_map(np.eye(2), cutouts).save(tmp_path / "map.html").read_text()
    files = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page)
    pictures = [Image.open(io.BytesIO(base64.b64decode(file))) for file in files]
    shown = [np.asarray(picture).sum((1, 2)).argmax() for picture in pictures if picture.size == (8, 8)]
    assert shown == [row, row]


def test_a_saved_map_is_a_page_of_its_own(chart, page, tmp_path):
    path = chart.save(tmp_path / "map.html")
    page.goto(path.as_uri())
    page.locator("canvas").first.wait_for()
    assert page.title() == TITLE
    assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []
    assert page.complaints == []


def test_a_large_set_is_thinned_and_the_page_stays_light(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.normal(0.1, 0.1, (1000, 5, 32, 32))
    cutouts = ssl.CutoutSet.from_arrays(noise, Table({"class": ["A", "B"] * 500, "modelMag_r": np.full(1000, 20.0)}))
    chart = ssl.interactive_map(rng.normal(size=(1000, 2)), cutouts)
    assert "800 objects" in repr(chart)
    assert chart.save(tmp_path / "map.html").stat().st_size < 6e6


def test_unknown_values_say_so_and_large_ids_stay_whole(blobs, tmp_path):
    chart = ssl.interactive_map(np.eye(2), blobs[[0, 1]], columns=["objid", "modelMag_u"])
    written = chart.save(tmp_path / "map.html").read_text()
    assert "unknown" in written  # row 0 has no u magnitude
    assert str(blobs.catalogue["objid"][1]) in written


def test_no_class_is_lost_when_there_are_more_than_markers(blobs, tmp_path):
    kinds = blobs[np.arange(30)]
    kinds.catalogue["kind"] = np.tile([f"type {k:02}" for k in range(15)], 2)
    chart = ssl.interactive_map(np.eye(30)[:, :2], kinds, label="kind", columns=["objid"])
    written = chart.save(tmp_path / "map.html").read_text()
    assert [k for k in range(15) if f'"type {k:02}"' not in written] == []


def test_what_does_not_fit_is_refused(blobs):
    with pytest.raises(ValueError, match=r"shape \(5, 2\) came with 300 cutouts"):
        ssl.interactive_map(np.zeros((5, 2)), blobs)
    with pytest.raises(KeyError, match="no column colour"):
        ssl.interactive_map(np.zeros((300, 2)), blobs, columns=["colour"])


def test_a_slider_flips_through_figures_without_a_network(page, tmp_path):
    def one(colour):
        figure, ax = plt.subplots(figsize=(2, 1))
        ax.set_facecolor(colour)
        return ssl.figures.describe(figure, "A panel.", f"It is {colour}.") if colour == "green" else figure

    open_before = plt.get_fignums()
    slider = ssl.FigureSlider({5: one("red"), "<10>": one("green"), 25: one("blue")}, name="labels", caption="A colour")
    assert repr(slider) == "FigureSlider: labels = 5, <10>, 25" and plt.get_fignums() == open_before
    site = tmp_path / "page.html"
    body = f"<body><h1>Slider</h1>{slider._repr_html_()}</body>"
    site.write_text(f"<!doctype html><html lang=en><head><meta charset=utf-8><title>One</title></head>{body}</html>")
    page.goto(site.as_uri())
    seen = page.locator("img:visible")
    assert seen.count() == 1 and seen.get_attribute("alt") == "A colour, labels = 5."
    page.get_by_role("slider", name="labels").press("ArrowRight")
    assert seen.count() == 1 and seen.get_attribute("alt") == "A colour, labels = <10>. A panel. It is green."
    assert page.locator("output").inner_text() == "<10>"
    assert page.get_by_role("slider").get_attribute("aria-valuetext") == "<10>"
    assert seen.evaluate("image => image.naturalWidth") == 2 * plt.rcParams["figure.dpi"]
    assert page.locator("figcaption").inner_text() == "A colour."
    assert page.complaints == []


def test_a_slider_needs_a_choice():
    with pytest.raises(ValueError, match="over 1 figures has nothing to choose"):
        ssl.FigureSlider({5: plt.figure()}, name="labels", caption="One figure")
