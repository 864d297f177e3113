"""The practice archive: an HTTP server on this machine that answers as SkyServer, the Science Archive
Server and VizieR do."""

import json
import os
import re
import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from joblib import cpu_count
from joblib.externals.loky import ProcessPoolExecutor

from .sky import SimulatedSky
from .skyserver import SkyServer, SqlError
from .vizier import VizieR, VizierError

SQL_PATH = re.compile(r"/dr\d+/en/tools/search/x_(results|sql)\.aspx?", re.IGNORECASE)
FRAME_PATH = re.compile(
    r"/sas/dr\d+/(?:boss|eboss|prior-surveys/sdss4-dr17-eboss)/photoObj/frames/301/(?P<folder>\d+)/(?P<column>\d)"
    r"/frame-(?P<band>[ugriz])-(?P<run>\d{6})-(?P<camcol>\d)-(?P<field>\d{4})\.fits\.bz2"
)
VIZIER_PATH = "/viz-bin/votable"
IDLE_SECONDS = 60  # a worker that has had nothing to do for so long ends by itself


@dataclass(frozen=True)
class Request:
    """One line of the server's log."""

    method: str
    path: str
    kind: str  # 'sql', 'frame', 'vizier' or 'other'
    status: int
    bytes: int


class PracticeArchive:
    """Serves a sky on 127.0.0.1 for as long as the `with` block lasts.

    Parameters
    ----------
    sky : SimulatedSky or RecordedSky, optional
        What to serve; by default a simulated sky of 270 fields.
    seed : int, default=0
        Seed of that default sky.
    workers : int, optional
        Processes that render frames; by default as many as there are cores.
    port : int, default=0
        Port to listen on; 0 takes a free one.

    Attributes
    ----------
    url : str
        'http://127.0.0.1:PORT': astroquery's `skyserver_baseurl`, and with '/sas' added its `sas_baseurl`.
    requests : list of Request
        Everything that was answered so far, in order.

    Examples
    --------
    >>> from astroquery.sdss import SDSS, conf
    >>> with PracticeArchive(SimulatedSky(n_runs=1, fields_per_camcol=1)) as archive:
    ...     with conf.set_temp("skyserver_baseurl", archive.url):
    ...         fields = SDSS.query_sql("SELECT run, camcol, field FROM Field WHERE camcol < 3", cache=False)
    >>> len(fields)
    2
    """

    def __init__(self, sky=None, *, seed=0, workers=None, port=0):
        self.sky = SimulatedSky(seed) if sky is None else sky
        self.seed, self.workers, self.port = seed, workers or cpu_count(), port
        self.requests: list[Request] = []

    def __enter__(self):
        services = _services_of_simulated if isinstance(self.sky, SimulatedSky) else _services
        self.skyserver, self.vizier = services(self.sky)
        # loky's workers do not import the caller's __main__ again: works from a notebook, a script and `python -m`
        self._pool = ProcessPoolExecutor(
            self.workers, timeout=IDLE_SECONDS, initializer=_end_with, initargs=(os.getpid(),)
        )
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.archive = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._pool.shutdown(wait=True, kill_workers=True)

    def frame(self, run, camcol, field, band) -> bytes | None:
        """One frame, rendered by a worker process; None if there is none."""
        return self._pool.submit(self.sky.frame_bytes, run, camcol, field, band).result()


def _services(sky):
    """SkyServer and VizieR over the tables of a sky."""
    tables = sky.tables()  # VizieR's have a slash in their name
    skyserver = SkyServer({name: table for name, table in tables.items() if "/" not in name})
    return skyserver, VizieR({name: table for name, table in tables.items() if "/" in name})


# A notebook opens the archive several times, and the tables of a whole sky take ten seconds to make.
_services_of_simulated = lru_cache(maxsize=1)(_services)


def _end_with(parent):
    """In a worker: end when the server's process has ended, even if that was killed."""

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class _Server(ThreadingHTTPServer):
    archive: PracticeArchive


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"  # connections stay open, as the real servers keep them
    disable_nagle_algorithm = True  # head and body are sent apart, and the second would wait 40 ms for the first

    def do_GET(self):
        parts = urlsplit(self.path)
        self._answer(parts.path, parse_qs(parts.query))

    def do_POST(self):
        form = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode("utf-8", "replace")
        parts = urlsplit(self.path)
        if parts.path == VIZIER_PATH:
            self._answer_vizier(form)
        else:
            self._answer(parts.path, parse_qs(parts.query) | parse_qs(form))

    def _answer(self, path, parameters):
        frame = FRAME_PATH.fullmatch(path)
        if SQL_PATH.fullmatch(path):
            self._answer_sql(parameters.get("cmd", [""])[0])
        elif frame and (int(frame["folder"]), frame["column"]) == (int(frame["run"]), frame["camcol"]):
            self._answer_frame(int(frame["run"]), int(frame["camcol"]), int(frame["field"]), frame["band"])
        else:
            self._send("other", 404, "text/plain", b"Not Found\n")

    def _answer_sql(self, sql):
        try:
            text, kind = self.server.archive.skyserver.answer(sql), "text/csv"
        except SqlError as error:
            # SkyServer reports a bad query in the body, with status 200
            text, kind = json.dumps({"error_type": "SqlException", "error_message": str(error)}), "application/json"
        self._send("sql", 200, f"{kind}; charset=utf-8", text.encode())

    def _answer_vizier(self, form):
        try:
            self._send("vizier", 200, "text/xml", self.server.archive.vizier.answer(form))
        except (VizierError, ValueError) as error:
            self._send("vizier", 400, "text/plain", f"{error}\n".encode())

    def _answer_frame(self, run, camcol, field, band):
        body = self.server.archive.frame(run, camcol, field, band)
        if body is None:
            self._send("frame", 404, "text/plain", b"Not Found\n")
        else:
            self._send("frame", 200, "application/x-bzip2", body)

    def _send(self, kind, status, content_type, body):
        self.server.archive.requests.append(Request(self.command, self.path, kind, status, len(body)))
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client hung up; that is its right

    def log_message(self, *_):
        """Requests are kept in `PracticeArchive.requests`, not printed."""
