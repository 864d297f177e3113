"""The book in Chromium, built from the course's own notebooks with made-up outputs.

``pytest tests/test_book_in_browser.py --book runs/demo/book/_build/html`` looks at a book that was made from a run, and
leaves pictures of its pages in a folder ``screenshots`` beside that one.
"""

import base64
import functools
import http.server
import io
import threading
import urllib.parse
import zipfile
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from astropy.table import Table
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

import astro_ssl_nb as ssl

from .built_book import build, lay_run
from .paths import REPOSITORY

HEAVY = {"notebooks/04_see_what_it_learned.html"}  # holds an interactive map
ONE_PAGE = 3e6  # bytes of a page and its pictures
SHARED = 5e6  # bytes of the theme and MathJax, which a browser loads once for all pages
ACCEPTED = {}  # axe rule -> reason for which a violation that the theme makes is accepted


@functools.cache
def interactive():
    """HTML of the outputs that a reader can play with, by the words of the cells that make them."""
    slider = ssl.FigureSlider({Q: plt.subplots(figsize=(4, 2))[0] for Q in (1, 10)}, name="Q", caption="Empty axes")
    table = Table({"objid": [7, 8], "class": ["STAR", "QSO"]})
    cutouts = ssl.CutoutSet.from_arrays(np.ones((2, 5, 8, 8)), table)
    chart = ssl.interactive_map(np.eye(2), cutouts, columns=["objid"], title="Two objects")
    return {"FigureSlider(": slider._repr_html_(), "interactive_map(": chart._repr_html_()}


def with_outputs(notebook):
    """Fill in outputs of the kinds that the course makes: a wide figure where a cell shows one, else a table."""
    picture = io.BytesIO()
    Image.new("RGB", (1100, 400), "#ddeeff").save(picture, "png")
    figure = {"image/png": base64.b64encode(picture.getvalue()).decode(), "text/plain": "<Figure>"}
    columns = "".join(f"<td>a column {number}</td>" for number in range(12))
    heads = columns.replace("td>", "th>")
    frame = (
        f'<table border="1" class="dataframe"><thead><tr>{heads}</tr></thead><tbody><tr>{columns}</tr></tbody></table>'
    )
    for number, cell in enumerate(cell for cell in notebook.cells if cell.cell_type == "code"):
        kind = frame if number % 2 else frame.replace(' class="dataframe"', "")
        shown = figure if "plt.show()" in cell.source else {"text/html": kind, "text/plain": "a table"}
        for words, html in interactive().items():
            if words in cell.source:
                shown = {"text/html": html, "text/plain": "for the mouse"}
        line = nbformat.v4.new_output("stream", name="stdout", text="a line that is too long for a phone " * 6)
        cell.execution_count = number + 1
        cell.outputs = [line, nbformat.v4.new_output("display_data", shown)]
    return notebook


def add_solution(notebook):
    """Add an exercise whose solution is hidden."""
    cell = nbformat.v4.new_code_cell("6 * 7", id="solution-1", metadata={"tags": ["hide-cell", "solution"]})
    words = nbformat.v4.new_markdown_cell("It is forty-two.", id="solution-2", metadata={"tags": ["solution"]})
    notebook.cells[-1:-1] = [cell, words]


@pytest.fixture(scope="module")
def html(tmp_path_factory, request):
    """The folder of a book that was built from the course's notebooks."""
    if given := request.config.getoption("book"):
        if not Path(given).is_dir():
            pytest.fail(f"there is no book in the folder {given}: `make book RUN=...` makes it")
        return Path(given).resolve()
    root = tmp_path_factory.mktemp("book")
    paths = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
    notebooks = {path.stem: with_outputs(nbformat.read(path, as_version=4)) for path in paths}
    add_solution(notebooks[paths[0].stem])
    run = lay_run(root, notebooks, preset="laptop")
    built = build(root)
    assert built.returncode == 0, built.stdout + built.stderr
    return run / "book" / "_build" / "html"


@pytest.fixture
def made_up(request):
    """What asks for the outputs that this module makes up."""
    if request.config.getoption("book"):
        pytest.skip("the book of a run holds no made-up outputs")


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serve files without a line of log for each."""

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def site(html):
    """The address of the book on this computer."""
    handler = functools.partial(QuietHandler, directory=html)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def pages_of(html):
    """The addresses of the pages of a book, without those that only send the reader elsewhere."""
    paths = sorted({*html.rglob("*.html")} - {*html.glob("_static/**/*")})
    return [str(path.relative_to(html)) for path in paths if 'http-equiv="Refresh"' not in path.read_text()]


LOOK = """() => ({
  links: [...document.querySelectorAll("a[href]")].map(a => a.href),
  images: [...document.querySelectorAll(".bd-article img")].map(i => [i.src, i.alt, i.naturalWidth]),
  ids: [...document.querySelectorAll("[id]")].map(e => e.id),
  math: document.querySelectorAll("mjx-container").length,
  width: Math.max(document.documentElement.scrollWidth, document.body.scrollWidth),
})"""


def visit(browser, html, site, shots, **context):
    """Return what a browser sees on each page: requests, errors, links, images, ids, width, and what axe objects to.

    Pictures of the pages go to the folder `shots`, if there is one.
    """
    seen = {}
    for name in pages_of(html):
        page = browser.new_page(**context)
        requests, errors = [], []
        page.on("request", lambda request, log=requests: log.append(request.url))
        page.on("requestfailed", lambda request, log=errors: log.append(f"failed: {request.url}"))
        page.on("response", lambda answer, log=errors: log.append(answer.url) if answer.status >= 400 else None)
        page.on("console", lambda message, log=errors: log.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error, log=errors: log.append(str(error)))
        page.goto(site + name)
        page.wait_for_load_state("networkidle")
        found = Axe().run(page, options={"preload": False, "resultTypes": ["violations"]})
        faults = [
            f"{fault['id']}: {node['html'][:200]}"
            for fault in found.response["violations"]
            if fault["impact"] in ("serious", "critical") and fault["id"] not in ACCEPTED
            for node in fault["nodes"]
        ]
        seen[name] = page.evaluate(LOOK) | {"requests": requests, "errors": errors, "faults": faults}
        if shots:
            page.screenshot(path=(shots / name).with_suffix(".png"), full_page=True)
        page.close()
    return seen


@pytest.fixture(scope="module")
def shots(request, html):
    """The folder for pictures of a book that was given."""
    return html.parent / "screenshots" if request.config.getoption("book") else None


@pytest.fixture(scope="module")
def visits(chromium, html, site, shots):
    """What a desktop in light mode sees."""
    return visit(chromium, html, site, shots and shots / "light")


@pytest.fixture(scope="module")
def phone_visits(chromium, html, site, shots):
    """What a phone in dark mode sees."""
    phone = {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}}
    return visit(chromium, html, site, shots and shots / "phone_dark", **phone)


def test_no_page_asks_another_host_or_logs_an_error(visits, phone_visits, site):
    assert len(visits) > 15
    for name, seen in [*visits.items(), *phone_visits.items()]:
        assert seen["errors"] == [], name
        assert [url for url in seen["requests"] if not url.startswith((site, "data:", "blob:"))] == [], name
    assert visits["notebooks/01_fetch_sdss_cutouts.html"]["math"] > 0


def test_every_internal_link_anchor_and_download_resolves(visits, html, site):
    checked = 0
    for name, seen in visits.items():
        for link in seen["links"]:
            address, _, anchor = link.partition("#")
            if not address.startswith(site):
                continue
            target = urllib.parse.unquote(address.removeprefix(site).partition("?")[0]) or "index.html"
            assert (html / target).is_file(), f"{name} links to {target}"
            if anchor and target in visits:
                assert urllib.parse.unquote(anchor) in visits[target]["ids"], f"{name} links to {target}#{anchor}"
            checked += 1
    assert checked > 500


def test_every_image_of_a_page_is_there_and_has_alternative_text(visits):
    images = [(name, *image) for name, seen in visits.items() for image in seen["images"]]
    assert len(images) > 15
    assert [(name, source) for name, source, alt, width in images if not width or len(alt) < 10] == []


def test_no_page_is_heavier_than_three_megabytes(visits, html, site):
    shared, weights = {}, {}
    for name, seen in visits.items():
        paths = {urllib.parse.unquote(url.partition("?")[0].removeprefix(site)) for url in seen["requests"]}
        sizes = {path: (html / path).stat().st_size for path in paths if not path.startswith(("data:", "blob:"))}
        shared |= {path: size for path, size in sizes.items() if path.startswith("_static/")}
        weights[name] = sum(size for path, size in sizes.items() if path not in shared)
    assert {name: weight for name, weight in weights.items() if weight > ONE_PAGE and name not in HEAVY} == {}
    assert sum(shared.values()) < SHARED


def test_search_finds_quasars_and_leads_to_them(chromium, site):
    page = chromium.new_page()
    page.goto(site + "search.html?q=quasar")
    first = page.locator("ul.search li a").first
    first.wait_for()
    assert page.locator("ul.search li").count() >= 3
    first.click()
    page.wait_for_load_state()
    assert "quasar" in page.locator("#main-content").inner_text().lower()
    page.close()


def test_no_page_is_wider_than_a_phone(phone_visits):
    assert {name: seen["width"] for name, seen in phone_visits.items() if seen["width"] > 390} == {}


def test_axe_finds_no_serious_fault_on_a_desktop_in_light_mode(visits):
    assert {name: seen["faults"] for name, seen in visits.items() if seen["faults"]} == {}


def test_axe_finds_no_serious_fault_on_a_phone_in_dark_mode(phone_visits):
    assert {name: seen["faults"] for name, seen in phone_visits.items() if seen["faults"]} == {}


def test_the_download_button_gives_the_notebook_as_it_ran(chromium, html, site):
    page = chromium.new_page()
    page.goto(site + "notebooks/01_fetch_sdss_cutouts.html")
    page.locator(".dropdown-download-buttons > button").click()
    with page.expect_download() as download:
        page.locator(".dropdown-download-buttons .btn-download-source-button").click()
    text = Path(download.value.path()).read_text()
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert download.value.suggested_filename == "01_fetch_sdss_cutouts.ipynb"
    assert notebook.cells[0].source.startswith("# Fetch SDSS cutouts") and "{term}" not in text
    assert any(cell.get("outputs") for cell in notebook.cells)
    page.close()


def test_every_notebook_to_download_is_that_of_the_course(html, made_up):
    paths = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
    for path in paths:
        given = nbformat.read(html / "_sources" / "notebooks" / path.name, as_version=4)
        cells = [(cell.id, cell.source) for cell in given.cells if cell.id not in ("solution-1", "solution-2")]
        assert cells == [(cell.id, cell.source) for cell in nbformat.read(path, as_version=4).cells], path.name


def test_a_reader_can_play_with_the_slider_and_the_map(chromium, site, made_up):
    page = chromium.new_page()
    page.goto(site + "notebooks/01_fetch_sdss_cutouts.html")
    page.get_by_role("slider", name="Q").press("ArrowRight")
    assert page.locator("figure img:visible").get_attribute("alt") == "Empty axes, Q = 10."
    page.goto(site + "notebooks/04_see_what_it_learned.html")
    chart = page.locator("iframe")
    chart.scroll_into_view_if_needed()
    page.frame_locator("iframe").locator("canvas").first.wait_for()
    assert chart.get_attribute("title") == "Two objects"
    page.close()


def test_a_solution_is_hidden_until_asked_for(chromium, site, made_up):
    page = chromium.new_page()
    page.goto(site + "notebooks/01_fetch_sdss_cutouts.html")
    for text in ("6 * 7", "It is forty-two."):
        solution = page.get_by_text(text)
        assert not solution.is_visible()
        toggle = page.locator("details", has=page.get_by_text(text)).locator("summary")
        assert "Show the solution" in toggle.inner_text()
        toggle.click()
        solution.wait_for(state="visible")
    page.close()


def test_the_offline_copy_holds_every_file_and_opens_without_a_server(chromium, html, site, tmp_path):
    page = chromium.new_page()
    page.goto(site)
    assert page.get_by_role("link", name="Download all pages").get_attribute("href") == "book.zip"
    page.close()
    with zipfile.ZipFile(html / "book.zip") as copy:
        copy.extractall(tmp_path)
    files = {path.relative_to(html) for path in html.rglob("*") if path.is_file()} - {Path("book.zip")}
    assert files == {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    page, errors = chromium.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((tmp_path / "notebooks" / "01_fetch_sdss_cutouts.html").as_uri())
    page.locator("mjx-container").first.wait_for()
    assert page.locator(".cell_output img").first.evaluate("image => image.naturalWidth") > 0 and errors == []
    page.goto((tmp_path / "intro.html").as_uri())
    page.locator("main").first.wait_for()
    assert page.locator("[href$='book.zip']").count() == 0  # it does not hold itself
    page.close()
