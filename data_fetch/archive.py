"""One polite, resumable client of an SDSS archive: SkyServer SQL and the frames of the Science Archive Server."""

import hashlib
import io
import threading
import time
from dataclasses import astuple, dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import requests
from astropy.io import votable
from astropy.table import Table
from astroquery import cache_conf
from astroquery.sdss import SDSSClass, conf
from astroquery.vizier import VizierClass

from data_fetch.answers import AnswerError, read_answer
from data_fetch.folder import write_atomically
from data_fetch.frames import Frame, FrameError
from data_fetch.transport import (
    CONNECTIONS,
    REDIRECTS,
    ArchiveError,
    RequestError,
    ask,
    body_reader,
    check_wanted,
    limited_adapter,
    time_limit,
)

VIZIER = "https://vizier.cds.unistra.fr"
MAX_QUERY = 1500  # characters of SQL: it travels in a GET request, whose length the server limits
MOST_FRAME, MOST_TABLE = 64e6, 1e9  # bytes of an answer: a packed frame has 3.4e6, 500,000 rows half of the other
# A frame may take this many times as long as a silence: in ten minutes it is 6 kB/s, and slower no set gets done. SQL
# may take as long before its answer begins, and once more until its end.
PATIENCE = 10
# HTTP statuses that will be the same tomorrow; 403 is also what a server says that has had enough of us for today.
NOT_THERE = (404, 410)

# astroquery keeps its addresses in global settings, and its session is not made for threads.
_astroquery = threading.Lock()


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
    vizier_url : str, default="https://vizier.cds.unistra.fr"
        Base URL of VizieR.
    queries_per_minute : float, optional
        The most SQL requests a minute; SkyServer asks for at most 60.
    max_rows : int, default=500000
        Where the server cuts an answer to SQL off without saying so.
    timeout : float, default=60
        Seconds of silence after which a request for a frame is given up; SQL may take ten times as long. A frame that
        is not whole after ten times as long, or a table after twenty times, is given up.
    backoff : float, default=0.5
        Seconds: after a failure, waits 0, 2, 4, 8, ... times as long before asking again, unless the server says how
        long. More is kinder to an archive that is slow to recover.
    auth : (str, str), optional
        User and password of a mirror that asks for them; VizieR gets them only where it is on the same server.
    """

    name: str
    skyserver: str
    sas: str
    release: int = 17
    vizier_url: str = VIZIER
    queries_per_minute: float | None = None
    max_rows: int = 500_000
    timeout: float = 60
    backoff: float = 0.5
    auth: tuple[str, str] | None = field(default=None, repr=False)

    def __post_init__(self):
        adapter = limited_adapter()
        self._sdss = SDSSClass()
        self._frames = requests.Session()
        self._frames.headers["User-Agent"] = self._sdss._session.headers["User-Agent"]
        self._vizier = _Vizier(self.vizier_url)
        sessions = {self._sdss._session: self.skyserver, self._vizier._session: self.vizier_url, self._frames: self.sas}
        trusted = {urlsplit(url)[:2] for url in (self.skyserver, self.sas)}
        for session, url in sessions.items():
            session.max_redirects = REDIRECTS
            # The proxy of an institute cannot reach a server on this computer.
            session.trust_env = urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1")
            # requests takes text for Latin-1, in which not every password can be written.
            session.auth = tuple(map(str.encode, self.auth)) if self.auth and urlsplit(url)[:2] in trusted else None
            for scheme in ("http://", "https://"):
                session.mount(scheme, adapter)
            if session is not self._frames:
                # Before a hook of astroquery, which looks at the body.
                session.hooks["response"].insert(0, body_reader(MOST_TABLE))
        self._turn, self._next_query = threading.Lock(), 0.0
        # Threads wait here and not for the pool of connections, from which nothing could call them back.
        self._frame_turns = threading.BoundedSemaphore(CONNECTIONS)

    def __reduce__(self):
        # Connections cannot go to another process, and there all tasks must share one set of them.
        return _archive_here, astuple(self)

    def close(self):
        """Close its connections."""
        for session in (self._sdss._session, self._vizier._session, self._frames):
            session.close()

    def query(self, sql, *, columns=None, folder=None):
        """Ask SkyServer and return the checked answer.

        Parameters
        ----------
        sql : str
            At most 1500 characters.
        columns : dict of str to type, optional
            Columns that the answer must have, and what their values are read as.
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
            If the archive cannot be reached, or answers with an error, a web page, other columns or other types.
        """
        if len(sql) > MAX_QUERY:
            raise ArchiveError(f"a query of {len(sql)} characters is too long for SkyServer: the limit is {MAX_QUERY}")
        key = hashlib.sha256(f"{self.name} dr{self.release} {sql}".encode()).hexdigest()[:20]
        kept = None if folder is None else Path(folder) / f"{key}.csv"

        def read(body):
            return read_answer(body.decode(), columns, max_rows=self.max_rows)

        def check(body, same):
            text = body.decode("utf-8", "replace")
            try:
                return text.encode(), read_answer(text, columns, max_rows=self.max_rows, believe=same)
            except ArchiveError as error:
                raise type(error)(f"{self.skyserver} {error}. The query was: {sql}") from error

        def fetch():
            try:
                with self._turn:
                    return ask(self.skyserver, lambda: self._send(sql), check, AnswerError, self.backoff)
            except RequestError as error:
                raise ArchiveError(f"{self.skyserver} {error}. The query was: {sql}") from error

        return _kept_or_fetched(kept, read, fetch)

    def _send(self, sql):
        time.sleep(max(0.0, self._next_query - time.monotonic()))
        try:
            # A query may run for ten minutes on SkyServer. Its cache would keep an error page for a week.
            with (
                _astroquery,
                conf.set_temp("skyserver_baseurl", self.skyserver),
                time_limit(2 * PATIENCE * self.timeout),
            ):
                return self._sdss.query_sql_async(
                    sql, timeout=(15, PATIENCE * self.timeout), data_release=self.release, cache=False
                )
        finally:
            if self.queries_per_minute:
                # Counted from the answer on, so that the requests reach the server at least this far apart.
                self._next_query = time.monotonic() + 60 / self.queries_per_minute

    def vizier(self, catalogue, *, check=None, folder=None):
        """All tables of a VizieR catalogue, with all their rows and columns.

        Parameters
        ----------
        catalogue : str
            Such as "J/A+A/532/A74".
        check : callable, optional
            Takes the tables, and raises an AnswerError if they are not what was asked for: they are not kept then.
        folder : path-like, optional
            Keep the answer there, and do not ask again if it is there already.

        Returns
        -------
        list of astropy.table.Table

        Raises
        ------
        ArchiveError
            If VizieR cannot be reached, or answers with something else.
        """
        key = hashlib.sha256(f"{self.name} {catalogue}".encode()).hexdigest()[:20]
        kept = None if folder is None else Path(folder) / f"{key}.vot"

        def send():
            # astroquery's cache would keep an error page for a week.
            with _astroquery, cache_conf.set_temp("cache_active", False), time_limit(2 * PATIENCE * self.timeout):
                return self._vizier.get_catalogs_async(catalogue)

        def read(body):
            tables = _read_votable(body)
            if check is not None:
                check(tables)
            return tables

        def fetch():
            try:
                return ask(self.vizier_url, send, lambda body, _: (body, read(body)), AnswerError, self.backoff)
            except RequestError as error:
                raise ArchiveError(f"{self.vizier_url} {error}. The catalogue was: {catalogue}") from error

        return _kept_or_fetched(kept, read, fetch)

    def frame_url(self, run, camcol, field, band, *, rerun=301):
        """The address of a frame, by astroquery's scheme for this release."""
        match = Table({"run": [run], "rerun": [rerun], "camcol": [camcol], "field": [field]})
        with _astroquery, conf.set_temp("sas_baseurl", self.sas):
            # Nothing is fetched here: a FileContainer waits until it is read, and is never read.
            (container,) = self._sdss.get_images_async(matches=match, band=band, data_release=self.release)
        return container._target

    def frame_path(self, run, camcol, field, band, folder, *, rerun=301):
        """Where `read_frame` keeps a frame: below `folder`, apart from those of other archives and releases."""
        archive = "".join(c if c.isalnum() else "-" for c in self.name.split("://")[-1])
        if "://" in self.name:  # two addresses may differ by nothing but a sign that a folder's name cannot have
            archive += "-" + hashlib.sha256(self.name.encode()).hexdigest()[:8]
        run, rerun, camcol, field = map(int, (run, rerun, camcol, field))  # text from an archive could lead anywhere
        name = f"frame-{band}-{run:06d}-{camcol}-{field:04d}.fits.bz2"
        return Path(folder) / f"{archive}-dr{self.release}" / str(rerun) / str(run) / str(camcol) / name

    def read_frame(self, run, camcol, field, band, folder, *, rerun=301, objects=None, stop=None):
        """Fetch one frame unless it is in `folder` already, and return the `Frame`.

        Parameters
        ----------
        run, camcol, field, rerun : int
        band : str
        folder : path-like
        objects : (array, array), optional
            Right ascensions and declinations (deg) of objects in it: a frame that is far from all is not believed.
        stop : threading.Event, optional
            Set when nobody wants the frame any more: then nothing is asked or waited for.

        Raises
        ------
        FrameError
            If the archive does not have this frame, or keeps sending a broken one.
        ArchiveError
            If the archive cannot be reached.
        """
        which = {"run": run, "camcol": camcol, "field": field, "band": band}
        url = self.frame_url(run, camcol, field, band, rerun=rerun)

        def read(body):
            frame = Frame.decode(body, **which)
            if objects is not None:
                frame.check_near(*objects)
            return frame

        def check(body, same):
            frame = read(body)
            # Frames have no such pixels. If the archive insists, only the objects around them are lost.
            if not frame.finite and not same:
                raise FrameError("holds pixels that are not finite")
            return body, frame

        hooks = {"response": body_reader(MOST_FRAME)}

        def send():
            with self._frame_turns:
                check_wanted(stop)
                with time_limit(PATIENCE * self.timeout, stop):
                    return self._frames.get(url, timeout=(15, self.timeout), hooks=hooks)

        def fetch():
            try:
                return ask(url, send, check, FrameError, self.backoff, stop)
            except RequestError as error:
                again = error.status not in NOT_THERE
                reason = f"answered HTTP {error.status}" if error.status else str(error)
                advice = ": run the same command again later" if again else ""
                raise FrameError(f"{url} {reason}{advice}", again=again) from error

        path = self.frame_path(run, camcol, field, band, folder, rerun=rerun)
        return _kept_or_fetched(path, read, fetch)


class _Vizier(VizierClass):
    """astroquery's client, for any address: it hard-codes https, which a server on this computer does not speak."""

    def __init__(self, url):
        super().__init__(columns=["all"], row_limit=-1)
        self._url = url

    def _server_to_url(self, return_type="votable"):
        return f"{self._url}/viz-bin/{return_type}"


def _kept_or_fetched(path, read, fetch):
    """What `read` makes of the bytes kept at a path, if any; else what `fetch` gives, and then its bytes are kept."""
    if path is not None and path.exists():
        try:
            return read(path.read_bytes())
        except (AnswerError, ArchiveError, FrameError, UnicodeDecodeError):
            path.unlink(missing_ok=True)  # damaged since: only what was checked is kept
    body, found = fetch()
    if path is not None:
        write_atomically(path, body)
    return found


def _read_votable(body):
    try:
        parsed = votable.parse(io.BytesIO(body), verify="ignore")
        tables = list(parsed.iter_tables())
        infos = [info for part in (parsed, *parsed.resources, *tables) for info in part.infos]
    except Exception as error:  # the XML parser and the reader raise what they like
        raise AnswerError(f"answered something that is not a VOTable: {body[:100]!r}") from error
    for info in infos:
        # OVERFLOW: behind the last row, where rows were left out. https://www.ivoa.net/documents/DALI/
        if info.name == "QUERY_STATUS" and info.value != "OK":
            why = f"{info.value}: {(info.content or '').strip()!r}"
            raise AnswerError(f"answered with a message instead of whole tables: {why}")
    if not tables:
        raise AnswerError(f"answered a VOTable without a table: {body[:100]!r}")
    return [table.to_table(use_names_over_ids=True) for table in tables]


@cache
def _archive_here(*settings):
    """The one `Archive` of this process for settings that came from another."""
    return Archive(*settings)
