"""Which archive a name or an address stands for."""

import hashlib
import re
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests

from data_fetch.archive import Archive
from data_fetch.transport import ArchiveError

SDSS: dict = {"skyserver": "https://skyserver.sdss.org", "sas": "https://data.sdss.org/sas", "queries_per_minute": 60}


@contextmanager
def open_archive(name="practice", *, release=17):
    """Open an archive for as long as the block lasts.

    Parameters
    ----------
    name : {"practice", "sdss"} or URL, default="practice"
        The simulated sky, which runs on this computer; the real SDSS; or a mirror that serves SkyServer and VizieR
        at URL and frames at URL/sas. Its user and password, as in https://user:password@host, are sent to it but
        written nowhere.
    release : int, default=17
        SDSS data release.

    Yields
    ------
    Archive

    Raises
    ------
    ArchiveError
        If there is no such archive, or the URL is none.

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
            with closing(Archive(name, server.url, f"{server.url}/sas", release, server.url)) as archive:
                yield archive
    elif name == "sdss":
        with closing(Archive("sdss", **SDSS, release=release)) as archive:
            yield archive
    else:
        parts = _checked_url(name)
        url = _without_user(parts)
        auth = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
        with closing(Archive(url, url, f"{url}/sas", release, url, auth=auth)) as archive:
            yield archive


def _without_user(parts):
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _checked_url(name):
    """The parts of the address of an archive; errors show no password."""
    shown = re.sub("//.*@", "//", name)
    if not name.lower().startswith(("http://", "https://")):
        raise ArchiveError(f"unknown archive {shown!r}: use practice, sdss or a URL")
    try:
        parts = urlsplit(name.rstrip("/"))
        _ = parts.port  # a ValueError if it is none
        requests.Request("GET", _without_user(parts)).prepare()  # requests refuses passwords outside of Latin-1
    except ValueError:
        raise ArchiveError(
            f"{shown!r} is no address of an archive: give one such as https://host or http://host:8080/path"
        ) from None
    return parts
