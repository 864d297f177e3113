"""What tests of both packages need."""

import importlib
import os
import shutil
from contextlib import contextmanager

import pytest
from filelock import FileLock

from .paths import REPOSITORY

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
FIRST = ("test_course.py", "test_label_curves.py", "test_book_in_browser.py")
GOES_ON = "test_jupyterlab.py"  # from the run of the course, for which it would wait


def pytest_addoption(parser):
    parser.addoption("--preset", help="preset of the notebooks that run in JupyterLab (default: ci)")
    parser.addoption("--book", help="folder of a built book to look at in the browser, instead of one made up")


def pytest_collection_modifyitems(items):
    """The longest files first, side by side: one that begins last would run alone at the end."""

    def place(item):
        if item.path.name in FIRST:
            return FIRST.index(item.path.name)
        return len(FIRST) + (1 if item.path.name == GOES_ON else 2 * ("data_fetch" in item.path.parts))

    items.sort(key=place)


@pytest.fixture(scope="session")
def course_run(tmp_path_factory):
    """The folder of a run of the whole course with the preset `ci`, which one process makes for all."""
    from run_course import run_course

    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    home, finished = root / "the_course", root / "the_course_is_finished"
    with FileLock(root / "the_course.lock"):
        if not finished.exists():
            for name in ("notebooks", "astro_ssl_nb", "data_fetch"):
                shutil.copytree(REPOSITORY / name, home / name, dirs_exist_ok=True)
            run_course(REPOSITORY / "notebooks/presets/ci.yml", "ci", course=home / "notebooks")
            finished.touch()
    return home / "runs" / "ci"


@pytest.fixture
def book_module(monkeypatch):
    """A function that imports one of the modules which build the book, by name."""
    monkeypatch.syspath_prepend(REPOSITORY / "jupyter-book")
    return importlib.import_module


@pytest.fixture
def small_disk():
    """A context in which no file grows beyond so many bytes: a full disk but for the number of its error."""
    resource = pytest.importorskip("resource", reason="file sizes can be limited on Unix alone")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    @contextmanager
    def limited(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return limited


@pytest.fixture(scope="module")  # while a driver is at work, no other event loop can run in this process
def chromium(request):
    """The Chromium or Chrome of this machine, for a test to open pages in; it knows no host but this computer."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        asked = [name for name in ("--book", "--preset") if request.config.getoption(name)]
        if asked:  # somebody wants it looked at, and would take a skipped test for a look
            pytest.fail(f"{asked[0]} asks for a browser, and this machine has no Chromium or Chrome: install one")
        pytest.skip("no Chromium or Chrome on this machine")
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()
