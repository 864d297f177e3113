"""The book, built from small executed notebooks that have the names of the course's."""

import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
CHAPTERS = [
    chapter["file"]
    for part in yaml.safe_load((REPOSITORY / "jupyter-book" / "_toc.yml").read_text())["parts"]
    for chapter in part["chapters"]
]
NOTEBOOKS = [Path(file).name for file in CHAPTERS if file.startswith("notebooks/")]
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="


def executed_notebook(title, prose):
    """Return a notebook with prose, a formula, and outputs of every kind that the course makes."""
    new = nbformat.v4
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "a widget"}
    outputs = [
        new.new_output("display_data", {"image/png": DOT, "text/plain": "<Figure>"}),
        new.new_output("display_data", {"text/html": "<table><tr><td>1</td></tr></table>"}),
        new.new_output("display_data", widget),
        new.new_output("stream", name="stderr", text="progress 100%"),
    ]
    code = new.new_code_cell("1 + 1", execution_count=1, outputs=outputs)
    cells = [new.new_markdown_cell(f"# {title}\n\n{prose}\n\n$$m = 22.5 - 2.5 \\log_{{10}} f$$"), code]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    metadata = {"language_info": {"name": "python"}, "papermill": {"input_path": "/home/someone/notebook.ipynb"}}
    return new.new_notebook(cells=cells, metadata=metadata)


def make_run(root, prose="A magnitude $m$ {cite}`lupton2004`."):
    """Copy the book's pages to a folder and lay a finished run beside them; return the folder of the run."""
    shutil.copytree(REPOSITORY / "jupyter-book", root / "jupyter-book", ignore=shutil.ignore_patterns("__pycache__"))
    run = root / "runs" / "trial"
    (run / "notebooks").mkdir(parents=True)
    for name in NOTEBOOKS:
        nbformat.write(executed_notebook(f"Notebook {name[:2]}", prose), run / "notebooks" / f"{name}.ipynb")
    summary = {
        "preset": "quick",
        "versions": {"python": "3.99.1"},
        "machine": {"system": "Some OS", "processor": "some64", "cores": 2, "memory_gb": 8},
        "sections": {"pretrain": {"headline": [["error in r", "0.123 mag | good"]]}},
        "notebooks": {name: {"seconds": 83.4, "peak_memory_mb": 1234} for name in NOTEBOOKS},
    }
    (run / "summary.json").write_text(json.dumps(summary))
    return run


def build(root):
    """Run the builder's command line in a folder."""
    command = [sys.executable, str(root / "jupyter-book" / "build.py"), "--run", "trial"]
    return subprocess.run(command, capture_output=True, text=True, cwd=root)


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """The folder of a book that was built."""
    root = tmp_path_factory.mktemp("book")
    run = make_run(root)
    built = build(root)
    assert built.returncode == 0, built.stdout + built.stderr
    index = run / "book" / "_build" / "html" / "index.html"
    assert built.stdout.strip().endswith(f"The book: {index}")
    return index.parent


def test_every_notebook_of_the_course_is_in_the_table_of_contents():
    assert sorted(NOTEBOOKS) == NOTEBOOKS == sorted(path.stem for path in (REPOSITORY / "notebooks").glob("*.ipynb"))


def test_the_pages_show_the_notebooks_and_what_the_run_measured(html):
    assert all((html / f"{file}.html").exists() for file in CHAPTERS)
    notebook = (html / f"notebooks/{NOTEBOOKS[0]}.html").read_text()
    assert "<img" in notebook and "progress 100%" not in notebook and "Lupton" in notebook
    measured = (html / "measured.html").read_text()
    for text in ("0.123 mag | good", "1 min 23 s", "1234", "3.99.1", "Notebook 01"):
        assert text in measured
    assert "Martinazzo" in (html / "bibliography.html").read_text()
    assert not any("/home/someone" in path.read_text() for path in html.rglob("*.ipynb"))


def test_a_chapter_that_the_preset_left_out_is_not_in_the_book(tmp_path):
    run = make_run(tmp_path)
    summary = json.loads((run / "summary.json").read_text())
    summary["left_out"] = [NOTEBOOKS[-1]]
    del summary["notebooks"][NOTEBOOKS[-1]]
    (run / "summary.json").write_text(json.dumps(summary))
    built = build(tmp_path)
    assert built.returncode == 0, built.stdout + built.stderr
    pages = {path.stem for path in (run / "book" / "_build" / "html" / "notebooks").glob("*.html")}
    assert pages == set(NOTEBOOKS[:-1])


class Loads(HTMLParser):
    """Collect every address that a browser loads by itself when it shows a page."""

    ATTRIBUTES = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        address = attributes.get(self.ATTRIBUTES.get(tag))
        if address and attributes.get("rel") not in ("canonical", "next", "prev", "author", "license"):
            self.found.append(address)


def test_no_page_or_stylesheet_names_another_host_for_what_it_loads(html):
    pages = list(html.rglob("*.html"))
    assert len(pages) > len(CHAPTERS)
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text())
        assert loads.found or 'http-equiv="Refresh"' in page.read_text(), page
        assert not [address for address in loads.found if re.match(r"(\w+:)?//", address)], page
        assert not re.findall(r"(?:require\.js|unpkg\.com|jsdelivr|cdnjs|googleapis)", page.read_text()), page
    for sheet in html.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:\w+:)?//", sheet.read_text()), sheet


@pytest.mark.parametrize("prose", ["[gone](nowhere.md)", "{cite}`nobody1999`"])
def test_a_broken_link_fails_the_build_and_is_named(tmp_path, prose):
    make_run(tmp_path, prose)
    built = build(tmp_path)
    assert built.returncode == 1
    assert "nowhere" in built.stderr or "nobody1999" in built.stderr
    assert "The book was not built" in built.stderr


def test_an_unfinished_or_unknown_run_is_refused_with_the_command_that_makes_it(tmp_path):
    run = make_run(tmp_path)
    summary = json.loads((run / "summary.json").read_text())
    del summary["notebooks"][NOTEBOOKS[1]]
    (run / "summary.json").write_text(json.dumps(summary))
    unfinished = build(tmp_path)
    assert unfinished.returncode == 1
    assert NOTEBOOKS[1] in unfinished.stderr and "make course RUN=trial" in unfinished.stderr
    shutil.rmtree(run)
    unknown = build(tmp_path)
    assert unknown.returncode == 1 and "There is no run 'trial'" in unknown.stderr


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serve files without a line of log for each."""

    def log_message(self, *arguments):
        pass


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("page", ["index.html", f"notebooks/{NOTEBOOKS[0]}.html", "measured.html"])
def test_a_browser_shows_a_page_without_an_error_or_a_request_elsewhere(html, tmp_path, page):
    handler = functools.partial(QuietHandler, directory=html)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
        command += ["--virtual-time-budget=10000", f"--user-data-dir={tmp_path}"]
        # every other host is unknown, so that a request to one is an error in the console
        command += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
        command += [f"http://127.0.0.1:{server.server_port}/{page}"]
        browser = subprocess.run(command, capture_output=True, text=True, timeout=120)
        server.shutdown()
    console = [line for line in browser.stderr.splitlines() if "CONSOLE" in line]
    assert not [line for line in console if re.search("Uncaught|Failed to load|Refused|invalid|Error", line)]
    assert "Few labels, a whole sky" in browser.stdout
    assert ("<mjx-container" in browser.stdout) == page.startswith("notebooks")  # the formulae were set
