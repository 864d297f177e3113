"""Asking a server politely, until its answer can be used or it has had its chances."""

import time

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import InvalidHeader, MaxRetryError
from urllib3.util import Retry

CONNECTIONS = 4
LONGEST_WAIT = 600  # seconds; a server that asks for more is better tried on another day
# Six attempts at a busy server, three at one that sends rubbish.
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


def limited_adapter():
    """An adapter for sessions that together must not open more than CONNECTIONS to a host.

    A pool that blocks is what keeps to the limit, whatever the number of threads. Retries are left to `ask`, which can
    also see whether an answer is any good.
    """
    return HTTPAdapter(CONNECTIONS, CONNECTIONS, max_retries=0, pool_block=True)


def ask(url, send, check, bad, backoff):
    """Send a request, again if need be, and return what `check` makes of the answer.

    Parameters
    ----------
    url : str
        Whom to name in errors.
    send : callable
        Sends the request, and returns a requests.Response.
    check : callable
        Takes the body (bytes) and whether the same bytes came the time before. What is suspect but possible should be
        believed only then.
    bad : exception class
        What `check` raises when the body is not what was asked for.
    backoff : float
        Seconds: the waits are 0, 2, 4, 8, ... times as long, unless the server asks for another.

    Raises
    ------
    RequestError
        If there is no usable answer after all attempts, or the server refuses.
    ArchiveError
        If the server cannot be reached.
    """
    retry, before = RETRY.new(backoff_factor=backoff), None
    while True:
        busy = None
        try:
            response = send()
            if response.status_code == 200:
                same, before = response.content == before, response.content
                return check(response.content, same)
            start = " ".join(response.text[:500].split())[:100]
            failure: Exception = RequestError(f"answered HTTP {response.status_code} ({start!r})", response.status_code)
            if response.status_code not in retry.status_forcelist:
                raise failure
            busy = response.raw
        except requests.RequestException as error:
            if _broke_off(error):
                failure = RequestError(f"broke off its answer ({type(error).__name__})")
            else:
                failure = ArchiveError(
                    f"{url} cannot be reached ({type(error).__name__}): check the address and the network, then run "
                    "the same command again; what was fetched is kept"
                )
        except bad as error:
            failure = RequestError(str(error))
        try:
            retry = retry.increment("GET", url, response=busy, error=None if busy else failure)
        except MaxRetryError:
            raise failure from None
        time.sleep(_seconds_to_wait(retry, busy))


def _broke_off(error):
    """Whether the server could be reached, and then reset the connection, fell silent or stopped half-way."""
    # What requests raises while it connects wraps a MaxRetryError.
    aborted = isinstance(error, requests.ConnectionError) and not isinstance(error.args[0], MaxRetryError)
    return aborted or isinstance(error, requests.ReadTimeout | requests.exceptions.ChunkedEncodingError)


def _seconds_to_wait(retry, busy):
    try:
        asked = None if busy is None else retry.get_retry_after(busy)
    except InvalidHeader:
        asked = None
    if asked is not None and asked > LONGEST_WAIT:
        raise RequestError(f"answered HTTP {busy.status} and asks to wait more than {LONGEST_WAIT} seconds")
    return retry.get_backoff_time() if asked is None else asked
