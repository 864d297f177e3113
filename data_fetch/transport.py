"""Asking a server politely, until its answer can be used or it has had its chances."""

import http.client
import io
import json
import socket
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, InvalidHeader, MaxRetryError
from urllib3.util import Retry, wait_for_read

CONNECTIONS = 4
REDIRECTS = 5  # more than a mirror that moved has; a server that sends us in a circle is left soon
MOST_SAID = 300  # characters of a server's reason that an error repeats
LOOK_UP = 0.2  # seconds of silence after which a read looks whether anybody still wants the answer
LONGEST_WAIT = 600  # seconds; a server that asks for more is better tried on another day
# Six attempts at a busy server or one that is away for a moment, three at one that sends rubbish.
RETRY = Retry(total=5, other=2, status_forcelist=(429, 502, 503, 504))


class ArchiveError(Exception):
    """The archive cannot be reached, or what it answered cannot be used."""


class RequestError(Exception):
    """A server that can be reached did not give a usable answer to one request.

    Attributes
    ----------
    status : int or None
        The HTTP status, where this is the reason.
    """

    def __init__(self, reason, status=None):
        super().__init__(reason)
        self.status = status


class BusyError(Exception):
    """A server says in an ordinary answer that it has been asked too often.

    Attributes
    ----------
    seconds : float
        How long to wait before it is asked again.
    """

    def __init__(self, reason, seconds):
        super().__init__(reason)
        self.seconds = seconds


@dataclass(frozen=True)
class _Limits:
    deadline: float
    seconds: float
    stop: threading.Event | None

    def check(self):
        check_wanted(self.stop)
        if time.monotonic() > self.deadline:
            raise RequestError(f"took more than {self.seconds:g} seconds to send its answer")


# Between the code that sends a request and the file that reads its answer are requests and urllib3.
_limits: ContextVar[_Limits | None] = ContextVar("limits", default=None)


@contextmanager
def time_limit(seconds, stop=None):
    """Have a request that is sent in this block, by a session with a `limited_adapter`, end with a RequestError.

    A time limit for silence alone is none for a server that sends a byte a minute.

    Parameters
    ----------
    seconds : float
        From here to the end of the answer: headers, redirects, body and what is behind it.
    stop : threading.Event, optional
        Once it is set nothing more is waited for or read.
    """
    token = _limits.set(_Limits(time.monotonic() + seconds, seconds, stop))
    try:
        yield
    finally:
        _limits.reset(token)


class _LimitedFile(io.RawIOBase):
    """What comes from a socket, until a limit is reached."""

    def __init__(self, raw, sock, limits):
        self._raw, self._socket, self._limits = raw, sock, limits

    def readable(self):
        return True

    def readinto(self, buffer):
        silent, patience = time.monotonic(), self._socket.gettimeout()
        # A proxy's TLS within TLS keeps what came where nobody can look; there only the silence has its limit.
        while isinstance(self._socket, socket.socket) and not self._ready():
            self._limits.check()
            if patience is not None and time.monotonic() - silent > patience:
                raise TimeoutError("timed out")
        self._limits.check()
        return self._raw.readinto(buffer)

    def _ready(self):
        unpacked = getattr(self._socket, "pending", int)()  # what TLS has read already
        return unpacked or wait_for_read(self._socket, LOOK_UP)

    def close(self):
        self._raw.close()
        super().close()


class _LimitedResponse(http.client.HTTPResponse):
    def __init__(self, sock, *args, **options):
        super().__init__(sock, *args, **options)
        limits = _limits.get()
        if limits is not None:
            self.fp = io.BufferedReader(_LimitedFile(self.fp.detach(), sock, limits))


class _Limited:
    response_class = _LimitedResponse


class _Adapter(HTTPAdapter):
    def get_connection_with_tls_context(self, *args, **options):
        pool = super().get_connection_with_tls_context(*args, **options)
        if not issubclass(pool.ConnectionCls, _Limited):
            pool.ConnectionCls = type("LimitedConnection", (_Limited, pool.ConnectionCls), {})
        return pool


def limited_adapter():
    """An adapter for sessions that together must not open more than CONNECTIONS to a host, and keep to a `time_limit`.

    A pool that blocks is what keeps to the limit, whatever the number of threads. Retries are left to `ask`, which can
    also see whether an answer is any good.
    """
    return _Adapter(CONNECTIONS, CONNECTIONS, max_retries=0, pool_block=True)


def body_reader(most):
    """A response hook of requests that gives up a body that is too long with a RequestError.

    Parameters
    ----------
    most : float
        Bytes of a body, unpacked if the server packed it.
    """

    def read(response, **_):
        parts, size = [], 0
        try:
            # read1 gives what has come so far; read would wait for all that it was asked for.
            while part := response.raw.read1(1 << 16, decode_content=True):
                parts.append(part)
                size += len(part)
                if size > most:
                    raise RequestError(f"sent more than {most / 1e6:,.0f} MB")
        except BaseException:
            response.close()  # gives the connection back to the pool, which would else run out of them
            raise
        # Where requests itself keeps a body that it has read.
        response._content, response._content_consumed = b"".join(parts), True
        return response

    return read


def check_wanted(stop):
    """Raise a RequestError once the event `stop`, if there is one, is set."""
    if stop is not None and stop.is_set():
        raise RequestError("was not asked any more, because the fetch has ended")


def ask(url, send, check, bad, backoff, stop=None):
    """Send a request, again if need be, and return what `check` makes of the answer.

    Parameters
    ----------
    url : str
        Whom to name in errors.
    send : callable
        Sends the request, and returns a requests.Response.
    check : callable
        Takes the body (bytes) and whether the same bytes came the time before. What is suspect but possible should be
        believed only then. A BusyError counts like a status that says the server is busy.
    bad : exception class
        What `check` raises when the body is not what was asked for.
    backoff : float
        Seconds: the waits are 0, 2, 4, 8, ... times as long, unless the server asks for another.
    stop : threading.Event, optional
        Once it is set nothing is sent any more, and no wait goes on.

    Raises
    ------
    RequestError
        If there is no usable answer after all attempts, the server refuses, or `stop` is set.
    ArchiveError
        If the server cannot be reached.
    """
    retry, before = RETRY.new(backoff_factor=backoff), None
    # On Windows, Ctrl-C ends a sleep but not the wait for an event.
    wait = time.sleep if stop is None else stop.wait
    while True:
        check_wanted(stop)
        busy, pause, failure = None, None, None
        try:
            response = send()
        except RequestError as error:
            failure = error
        except (requests.RequestException, HTTPError, ValueError) as error:
            failure = _failure(url, error)
        else:
            if response.status_code == 200:
                same, before = response.content == before, response.content
                try:
                    return check(response.content, same)
                except BusyError as error:
                    pause, failure = error.seconds, RequestError(str(error))
                except bad as error:
                    failure = RequestError(str(error))
            else:
                status = response.status_code
                failure = RequestError(f"answered HTTP {status} ({_said(response.content)!r})", status)
                if status not in retry.status_forcelist:
                    raise failure
                busy = response
        # Without an error, only the total of attempts counts.
        patient = busy is not None or pause is not None or isinstance(failure, ArchiveError)
        try:
            retry = retry.increment("GET", url, error=None if patient else failure)
        except MaxRetryError:
            raise failure from None
        wait(_seconds_to_wait(retry, busy) if pause is None else pause)


def _said(body):
    """What the body of an error says, in one line; SkyServer puts the reason into JSON, behind other things."""
    text = body.decode("utf-8", "replace")
    try:
        text = str(json.loads(text)["ErrorMessage"])
    except (ValueError, LookupError, TypeError, RecursionError):
        pass  # most servers send a page
    return " ".join(text.split())[:MOST_SAID]


def _failure(url, error):
    """What an error of `send` means: the server cannot be reached at all, or one answer of it is of no use."""
    # What requests raises while it connects wraps a MaxRetryError; behind a redirect, it may be for another server.
    if isinstance(error, requests.ConnectionError) and error.args and isinstance(error.args[0], MaxRetryError):
        ours = requests.Request("GET", url).prepare().url  # spelt as requests does it
        tried = urlsplit(str(getattr(error.request, "url", ours))).netloc
        if tried != urlsplit(str(ours)).netloc:
            return RequestError(f"sent us on to {tried}, which cannot be reached ({type(error).__name__})")
        return ArchiveError(
            f"{url} cannot be reached ({type(error).__name__}): check the address and the network, then run "
            "the same command again; what was fetched is kept"
        )
    if isinstance(error, requests.ConnectionError | requests.Timeout | HTTPError):
        return RequestError(f"broke off its answer ({type(error).__name__})")
    return RequestError(f"gave an answer that cannot be followed or read ({type(error).__name__}: {error})")


def _seconds_to_wait(retry, busy):
    try:
        asked = None if busy is None else retry.get_retry_after(busy)
    except (InvalidHeader, ValueError, OverflowError):  # a date beyond the calendar, a number of too many digits
        asked = None
    if asked is not None and asked > LONGEST_WAIT:
        raise RequestError(f"answered HTTP {busy.status_code} and asks to wait more than {LONGEST_WAIT} seconds")
    return retry.get_backoff_time() if asked is None else asked
