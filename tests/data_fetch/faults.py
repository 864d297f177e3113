"""A small sky behind a server on 127.0.0.1 that misbehaves on chosen requests, and keeps a log."""

import bz2
import io
import re
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
from astropy.io import fits
from astropy.table import Table

import data_fetch
from data_fetch.catalogues import PHOTOMETRY
from data_fetch.folder import WORK
from data_fetch.practice.skyserver import SkyServer

FIELDS, OBJECTS = 6, 6  # fields of run 9201, and objects in each
RUN = 9201


_OK, _CHUNKED = b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DRIPS = {  # what comes first, and what comes again and again
    "drip": (_OK + b"Content-Length: 1000000\r\n\r\n", b"."),
    "drip a header": (_OK + b"X-Slow: ", b"."),
    "drip 100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "drip an extension": (_CHUNKED + b"3;", b"."),
    "drip trailers": (_CHUNKED + b"3\r\nabc\r\n0\r\n", b"X-Slow: a\r\n"),
}


@dataclass(frozen=True)
class Fault:
    """What is sent instead of an answer.

    Attributes
    ----------
    status, headers, body
        Of the answer; a body that is a function gets the true one.
    cut : int, optional
        Close the connection after this share (per cent) of the body.
    act : {"reset", "stall"} or one of DRIPS, optional
        Reset the connection at once, keep it without a word until the client hangs up, or send piece after piece until
        then.
    """

    status: int = 200
    headers: tuple = ()
    body: object = b""
    cut: int | None = None
    act: str | None = None


def frame_bytes(field, band, change=lambda hdus: None):
    """A packed frame, zero but for a spot for each object; `change` may spoil the HDUs first."""
    data = np.zeros((1489, 2048), np.float32)  # zeros are packed and unpacked at once
    for number in range(OBJECTS):
        x, y = pixel(number)
        data[y - 2 : y + 3, x - 2 : x + 3] = field + number / 8 + "ugriz".index(band) / 64
    empty = [fits.ImageHDU(np.ones(2048, "f4")), fits.BinTableHDU(), fits.BinTableHDU()]
    hdus = fits.HDUList([fits.PrimaryHDU(data), *empty])
    cards = {"RUN": RUN, "CAMCOL": 1, "FILTER": band, "FRAME": field, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}
    scale = 0.396 / 3600
    cards |= {"CUNIT1": "deg", "CUNIT2": "deg", "CRPIX1": 1025.0, "CRPIX2": 745.0, "CRVAL1": 10.0 + field}
    cards |= {"CRVAL2": 0.0, "CD1_1": scale, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": scale}
    hdus[0].header.update(cards)
    change(hdus)
    buffer = io.BytesIO()
    hdus.writeto(buffer)
    return bz2.compress(buffer.getvalue(), 1)


def pixel(number):
    """Column and row of an object in its field."""
    return 300 + 200 * number, 700 + 10 * number


def catalogue():
    """PhotoObj and Field of the small sky."""
    rows = []
    for field in range(1, FIELDS + 1):
        for number in range(OBJECTS):
            x, y = pixel(number)
            row = {name[2:]: 17.5 for name in PHOTOMETRY if name.startswith("p.")}
            row |= {"objID": (RUN << 32) + (1 << 29) + (field << 16) + number, "fieldID": field, "run": RUN}
            row |= {"rerun": 301, "camcol": 1, "field": field, "type": 3, "mode": 1, "clean": 1, "petroRad_r": -9999.0}
            row |= {"ra": 10.0 + field + (x - 1024) * 0.396 / 3600, "dec": (y - 744) * 0.396 / 3600}
            rows.append(row | {"colc_r": float(x), "rowc_r": float(y)})
    fields = [
        {"fieldID": f, "run": RUN, "rerun": 301, "camcol": 1, "field": f, "quality": 3, "psfWidth_r": 1.3}
        for f in range(1, FIELDS + 1)
    ]
    return {"PhotoObj": Table(rows=rows), "Field": Table(rows=fields)}


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # a client that was killed


class FaultyArchive:
    """Serves the small sky, misbehaves as told, and keeps a log.

    Attributes
    ----------
    url : str
    faults : list of callables
        Called at each request with its kind, its path and how often that was asked before; return a Fault or None.
    pause : float
        Seconds that every answer takes.
    log : list of (float, str, str, bool)
        Time (s), kind ("sql" or "frame"), path, and whether the true answer was sent, of each request.
    most_connections : int
        The most that were open at once.
    """

    frames = staticmethod(cache(frame_bytes))
    skyserver = SkyServer(catalogue())

    def __init__(self):
        self.log, self.faults, self.pause = [], [], 0.0
        self.most_connections, self._open, self._lock = 0, set(), threading.Condition()
        archive = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or each body waits 40 ms for the client to acknowledge the headers

            def setup(self):
                super().setup()
                with archive._lock:
                    # One that the client has closed already counts no more.
                    archive._open = {other for other in archive._open if not _hung_up(other)} | {self.connection}
                    archive.most_connections = max(archive.most_connections, len(archive._open))

            def finish(self):
                with archive._lock:
                    archive._open.discard(self.connection)
                super().finish()

            def do_GET(self):
                archive._answer(self)

            def log_message(self, *_):
                pass

        self._server = QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def asked(self, kind, *, answered=None):
        """Paths of the requests of a kind, in order."""
        return [path for _, k, path, true in self.log if k == kind and answered in (None, true)]

    def wait_until_asked(self, pattern, timeout=60):
        """Block until a path that holds this pattern was asked for."""
        with self._lock:
            if not self._lock.wait_for(lambda: any(re.search(pattern, path) for _, _, path, _ in self.log), timeout):
                raise TimeoutError(f"nobody asked for {pattern} within {timeout} s")

    def _answer(self, handler):
        kind = "frame" if handler.path.endswith(".bz2") else "sql"
        with self._lock:
            count = sum(path == handler.path for _, _, path, _ in self.log)
            fault = next(filter(None, (make(kind, handler.path, count) for make in self.faults)), None)
            self.log.append((time.monotonic(), kind, handler.path, fault is None))
            self._lock.notify_all()
        time.sleep(self.pause)
        fault = fault or Fault(body=lambda true: true)
        if fault.act == "stall":
            select.select([handler.connection], [], [], 30)
            handler.close_connection = True
        elif fault.act in DRIPS:
            first, piece = DRIPS[fault.act]
            handler.wfile.write(first)
            while not select.select([handler.connection], [], [], 0.02)[0]:
                handler.wfile.write(piece)
            handler.close_connection = True
        elif fault.act == "reset":
            # Closing with a linger time of zero sends RST instead of FIN.
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()
            handler.close_connection = True
        else:
            true = self._truth(kind, handler.path)
            self._send(handler, fault, fault.body(true) if callable(fault.body) else fault.body)

    def _truth(self, kind, path):
        if kind == "sql":
            return self.skyserver.answer(parse_qs(urlsplit(path).query)["cmd"][0]).encode()
        _, band, _, _, field = path.removesuffix(".fits.bz2").rsplit("/", 1)[1].split("-")
        return self.frames(int(field), band)

    def _send(self, handler, fault, body):
        handler.send_response(fault.status)
        for name, value in fault.headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if fault.cut is not None:
            body = body[: len(body) * fault.cut // 100]
            handler.close_connection = True
        handler.wfile.write(body)


def _hung_up(connection):
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


N = FIELDS * OBJECTS
FIRST_FRAME = r"frame-r-009201-1-0003"
REQUEST = {"n": N, "bands": "gr", "size": 16}


def client(server, **settings):
    return data_fetch.Archive("small", server.url, f"{server.url}/sas", **{"timeout": 30, "backoff": 0.01} | settings)


def fetch(server, out, **settings):
    return data_fetch.fetch("pretext", archive=client(server, **settings), out=out, progress=False, **REQUEST)


def assert_same(out, other):
    for name in ("images.npy", "catalogue.parquet"):
        assert (out / name).read_bytes() == (other / name).read_bytes(), name
    assert data_fetch.verify(out) == []
    assert not (out / WORK).exists() and not (out / "missing.ecsv").exists()
    assert not list(out.parent.rglob("*.part"))


def once(kind, fault, pattern=""):
    left = [fault]
    return lambda k, path, count: left.pop() if left and k == kind and re.search(pattern, path) else None
