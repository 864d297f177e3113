"""A practice archive for all tests, and a mirror of it that can misbehave."""

import re
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from types import SimpleNamespace

import pytest
import requests

import data_fetch
from data_fetch.__main__ import main

from .faults import FaultyArchive, QuietServer, fetch


class Mirror:
    """Passes requests on to an archive, and writes them down in `frames` (names) and `queries` (SQL requests).

    `authorizations` are the headers with which clients named themselves, None for none.
    `faults` maps a pattern of the path to (status, content type, body); `hold` is a pattern
    of paths that wait for an answer until `released` is set.
    All mirrors share one memory of frames, so that none is rendered twice.
    """

    _memory = {}

    def __init__(self, origin):
        self.frames, self.queries, self.faults, self.authorizations = [], [], {}, set()
        self.hold, self.reached, self.released = None, threading.Event(), threading.Event()
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                mirror.authorizations.add(self.headers["Authorization"])
                form = self.rfile.read(int(self.headers["Content-Length"]))
                for pattern, answer in mirror.faults.items():
                    if re.search(pattern, self.path):
                        return self._answer(*answer)
                passed = requests.post(origin + self.path, data=form, headers=dict(self.headers), timeout=120)
                self._answer(passed.status_code, passed.headers.get("Content-Type", ""), passed.content)

            def do_GET(self):
                mirror._note(self.path)
                mirror.authorizations.add(self.headers["Authorization"])
                for pattern, answer in mirror.faults.items():
                    if re.search(pattern, self.path):
                        return self._answer(*answer)
                if self.path in mirror._memory:
                    return self._answer(200, "application/x-bzip2", mirror._memory[self.path])
                passed = requests.get(origin + self.path, timeout=120)
                if passed.ok and self.path.endswith(".fits.bz2"):
                    mirror._memory[self.path] = passed.content
                self._answer(passed.status_code, passed.headers.get("Content-Type", ""), passed.content)

            def _answer(self, status, kind, body):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _note(self, path):
        if path.endswith(".fits.bz2"):
            self.frames.append(path.rsplit("/", 1)[1])
        else:
            self.queries.append(path)
        if self.hold and re.search(self.hold, path):
            self.reached.set()
            self.released.wait(120)

    def close(self):
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="session")
def origin():
    """Twelve fields of the practice sky."""
    from data_fetch.practice import PracticeArchive, SimulatedSky

    with PracticeArchive(SimulatedSky(n_runs=1, fields_per_camcol=2)) as server:
        yield server.url


@pytest.fixture(scope="session")
def practice(origin):
    """The practice archive that tests share."""
    with closing(Mirror(origin)) as mirror:
        yield mirror


@pytest.fixture
def mirror(origin):
    """The practice archive for one test, which may break it or count its requests."""
    with closing(Mirror(origin)) as mirror:
        yield mirror


@pytest.fixture(scope="session")
def frames_folder(tmp_path_factory):
    """Frames that any test may use; a test that counts frame requests takes a folder of its own."""
    return tmp_path_factory.mktemp("frames")


@pytest.fixture
def command(capsys):
    """Run `python -m data_fetch` in this process: its exit code and what it printed."""

    def run(*arguments):
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # how argparse ends
            code = stop.code
        return SimpleNamespace(returncode=code, **capsys.readouterr()._asdict())

    return run


@pytest.fixture
def server():
    """The small archive that can misbehave, for one test."""
    with closing(FaultyArchive()) as server:
        yield server


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """A set that was fetched from it without a fault."""
    with closing(FaultyArchive()) as server:
        out = tmp_path_factory.mktemp("undisturbed") / "set"
        fetch(server, out)
        assert server.most_connections <= 4
    return out


@pytest.fixture(scope="module")
def archive(practice):
    """A client of it."""
    with data_fetch.open_archive(practice.url) as archive:
        yield archive


@pytest.fixture(scope="module")
def sgq(archive, frames_folder, tmp_path_factory):
    """The folder of a small set that was fetched from it, and the set."""
    out = tmp_path_factory.mktemp("sets") / "sgq"
    return out, data_fetch.fetch("sgq", archive=archive, n=30, out=out, frames=frames_folder)
