"""One polite, resumable client of an SDSS archive: SkyServer SQL and the frames of the Science Archive Server."""

import hashlib
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import requests
from astropy.io.ascii import convert_numpy
from astropy.table import Table
from astroquery.sdss import SDSSClass, conf
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from data_fetch.folder import write_atomically
from data_fetch.frames import Frame, FrameError

SDSS = {"skyserver": "https://skyserver.sdss.org", "sas": "https://data.sdss.org/sas", "queries_per_minute": 60}
CONNECTIONS = 4
MAX_QUERY = 1500  # characters of SQL: it travels in a GET request, whose length the server limits
MAX_ROWS = 500_000  # SkyServer cuts a longer answer without saying so
ID_COLUMNS = ("objID", "specObjID", "bestObjID", "fieldID")
SENTINELS = (-9999.0, -1000.0)  # how the catalogue writes "not measured"

# astroquery keeps its addresses in global settings, and its session is not made for threads.
_astroquery = threading.Lock()


class ArchiveError(Exception):
    """The archive cannot be reached, or what it answered cannot be used."""


@dataclass
class Archive:
    """A client of one archive, real or not: only the addresses differ. Made by `open_archive`.

    Attributes
    ----------
    name : str
        What to call it in a card: "sdss", "practice (seed 0, version ...)" or the URL of a mirror.
    skyserver, sas : str
        Base URLs of the SQL service and of the image server.
    release : int, default=17
        SDSS data release.
    queries_per_minute : float, optional
        The most SQL requests a minute; SkyServer asks for at most 60.
    """

    name: str
    skyserver: str
    sas: str
    release: int = 17
    queries_per_minute: float | None = None

    def __post_init__(self):
        # urllib3 waits as long as Retry-After says; without one it waits 1, 2, 4, ... seconds.
        retry = Retry(
            total=5, connect=2, backoff_factor=0.5, status_forcelist=(429, 502, 503, 504), raise_on_status=False
        )
        # A pool that blocks is what keeps us at CONNECTIONS, whatever the number of threads.
        adapter = HTTPAdapter(CONNECTIONS, CONNECTIONS, max_retries=retry, pool_block=True)
        self._sdss = SDSSClass()
        self._frames = requests.Session()
        self._frames.headers["User-Agent"] = self._sdss._session.headers["User-Agent"]
        for session in (self._sdss._session, self._frames):
            for scheme in ("http://", "https://"):
                session.mount(scheme, adapter)
        self._next_query = 0.0

    def query(self, sql, *, columns=(), folder=None):
        """Ask SkyServer and return the checked answer.

        Parameters
        ----------
        sql : str
            At most 1500 characters.
        columns : sequence of str
            Columns that the answer must have.
        folder : path-like, optional
            Keep the answer there, and do not ask again if it is there already.

        Returns
        -------
        astropy.table.Table
            Ids are uint64; values that the catalogue does not know (NULL, -9999, -1000) are masked.
            No rows is an answer like any other.

        Raises
        ------
        ArchiveError
            If the archive cannot be reached, or answers with an error, a web page or other columns.
        """
        if len(sql) > MAX_QUERY:
            raise ArchiveError(f"a query of {len(sql)} characters is too long for SkyServer: the limit is {MAX_QUERY}")
        key = hashlib.sha256(f"{self.name} dr{self.release} {sql}".encode()).hexdigest()[:20]
        kept = None if folder is None else Path(folder) / f"{key}.csv"
        if kept is not None and kept.exists():
            return _read_answer(kept.read_text(), columns)
        text = self._ask(sql)
        try:
            table = _read_answer(text, columns)
        except ArchiveError as error:
            raise ArchiveError(f"{self.skyserver} {error}. The query was: {sql}") from error
        if kept is not None:
            write_atomically(kept, text.encode())
        return table

    def _ask(self, sql):
        with _astroquery:
            if self.queries_per_minute:
                time.sleep(max(0.0, self._next_query - time.monotonic()))
                self._next_query = time.monotonic() + 60 / self.queries_per_minute
            try:
                # A query may run for ten minutes on SkyServer. Its cache would keep an error page for a week.
                with conf.set_temp("skyserver_baseurl", self.skyserver):
                    response = self._sdss.query_sql_async(
                        sql, timeout=(15, 600), data_release=self.release, cache=False
                    )
            except requests.RequestException as error:
                raise self._unreachable(self.skyserver, error) from error
        if response.status_code != 200:
            start = " ".join(response.text.split())[:200]
            raise ArchiveError(
                f"{self.skyserver} answered HTTP {response.status_code}: {start!r}. The query was: {sql}"
            )
        return response.text

    def _unreachable(self, url, error):
        return ArchiveError(
            f"{url} cannot be reached ({type(error).__name__}): check the address and the network, then run the same "
            "command again; what was fetched is kept"
        )

    def frame_url(self, run, camcol, field, band, *, rerun=301):
        """The address of a frame, by astroquery's scheme for this release."""
        match = Table({"run": [run], "rerun": [rerun], "camcol": [camcol], "field": [field]})
        with _astroquery, conf.set_temp("sas_baseurl", self.sas):
            # Nothing is fetched here: a FileContainer waits until it is read, and is never read.
            (container,) = self._sdss.get_images_async(matches=match, band=band, data_release=self.release)
        return container._target

    def frame_path(self, run, camcol, field, band, folder, *, rerun=301):
        """Where `frame` keeps a frame: below `folder`, apart from those of other archives and releases."""
        archive = "".join(c if c.isalnum() else "-" for c in self.name.split("://")[-1])
        name = f"frame-{band}-{run:06d}-{camcol}-{field:04d}.fits.bz2"
        return Path(folder) / f"{archive}-dr{self.release}" / str(rerun) / str(run) / str(camcol) / name

    def frame(self, run, camcol, field, band, folder, *, rerun=301):
        """Fetch one frame unless it is in `folder` already, and return its path.

        Raises
        ------
        FrameError
            If the archive does not have this frame, or keeps sending a broken one.
        ArchiveError
            If the archive cannot be reached.
        """
        self.read_frame(run, camcol, field, band, folder, rerun=rerun)
        return self.frame_path(run, camcol, field, band, folder, rerun=rerun)

    def read_frame(self, run, camcol, field, band, folder, *, rerun=301):
        """Like `frame`, but return the `Frame`: unpacking is the only full check, and too dear to do twice."""
        which = {"run": run, "camcol": camcol, "field": field, "band": band}
        path = self.frame_path(run, camcol, field, band, folder, rerun=rerun)
        if path.exists():
            try:
                return Frame.decode(path.read_bytes(), **which)
            except FrameError:
                path.unlink()
        url = self.frame_url(run, camcol, field, band, rerun=rerun)
        packed, frame = self._download(url, which)
        write_atomically(path, packed)
        return frame

    def _download(self, url, which, attempts=3):
        for attempt in range(1, attempts + 1):
            try:
                response = self._frames.get(url, timeout=(15, 60))
                if response.status_code == 200:
                    return response.content, Frame.decode(response.content, **which)
            except FrameError as error:
                if attempt == attempts:
                    raise FrameError(f"{url} {error}, {attempts} times") from error
                continue
            except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ReadTimeout) as error:
                if attempt == attempts:
                    raise self._unreachable(url, error) from error
                continue
            except requests.RequestException as error:
                raise self._unreachable(url, error) from error
            if response.status_code in (403, 404, 410):
                raise FrameError(f"{url} answered HTTP {response.status_code}")
            raise ArchiveError(f"{url} answered HTTP {response.status_code}: run the same command again later")


@contextmanager
def open_archive(name="practice", *, release=17):
    """Open an archive for as long as the block lasts.

    Parameters
    ----------
    name : {"practice", "sdss"} or URL, default="practice"
        The simulated sky, which runs on this computer; the real SDSS; or a mirror that serves SkyServer at URL and
        frames at URL/sas.
    release : int, default=17
        SDSS data release.

    Yields
    ------
    Archive

    Raises
    ------
    ArchiveError
        If there is no such archive.

    Examples
    --------
    >>> with open_archive("sdss", release=16) as archive:
    ...     print(archive.frame_url(3918, 3, 213, "r"))
    https://data.sdss.org/sas/dr16/eboss/photoObj/frames/301/3918/3/frame-r-003918-3-0213.fits.bz2
    """
    if name == "practice":
        from data_fetch import practice

        # Frames are kept under the name of their archive: when the code changes, so does the sky, and so must the name.
        sources = sorted(Path(practice.__file__).parent.glob("*.py"))
        version = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:8]
        with practice.PracticeArchive() as server:
            name = f"practice (seed {server.seed}, version {version})"
            yield Archive(name, server.url, f"{server.url}/sas", release)
    elif name == "sdss":
        yield Archive("sdss", **SDSS, release=release)
    elif urlsplit(name).scheme in ("http", "https") and urlsplit(name).netloc:
        url = name.rstrip("/")
        yield Archive(url, url, f"{url}/sas", release)
    else:
        raise ArchiveError(f"unknown archive {name!r}: use practice, sdss or a URL")


def _read_answer(text, columns):
    """SkyServer's CSV as a Table with masks and unsigned ids."""
    start = " ".join(text.split())[:200]
    if not start:
        raise ArchiveError("gave an empty answer")
    if start.startswith("<") or "error_message" in text:
        raise ArchiveError(f"answered with a message instead of a table: {start!r}")
    ids = {name: [convert_numpy(np.uint64)] for name in ID_COLUMNS}
    try:
        body = text.split("\n", 1)[1] if text.startswith("#") else text
        table = Table.read(
            body, format="ascii.csv", guess=False, converters=ids, fill_values=[("", "0"), ("null", "0"), ("NULL", "0")]
        )
    except Exception as error:  # the reader raises anything from ValueError to IndexError on what is no table
        raise ArchiveError(f"answered something that is not a table: {start!r}") from error
    absent = [name for name in columns if name not in table.colnames]
    if absent:
        raise ArchiveError(f"answered without the columns {', '.join(absent)}: {start!r}")
    if len(table) >= MAX_ROWS:
        raise ArchiveError(f"answered {len(table)} rows, which is where it cuts answers off: ask for less at a time")
    for name in table.colnames:
        if table[name].dtype.kind == "f" and np.isin(table[name], SENTINELS).any():
            mask = np.ma.getmaskarray(table[name]) | np.isin(np.ma.getdata(table[name]), SENTINELS)
            table[name] = np.ma.MaskedArray(np.ma.getdata(table[name]), mask)
    return table
