"""One answer that leads nowhere costs one frame, an outage costs a wait, and the end of a fetch ends every wait."""

import bz2
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from astropy.table import Table

import data_fetch
from data_fetch.answers import AnswerError
from data_fetch.transport import CONNECTIONS, RequestError, ask

from .faults import DRIPS, FIELDS, FIRST_FRAME, OBJECTS, REQUEST, Fault, frame_bytes

REPOSITORY = Path(__file__).parents[2]
FRAME = {"run": 9201, "camcol": 1, "field": 3, "band": "r"}
MUCH_LATER = (("Retry-After", "500"),)
# Where the tests run in the background of a shell, Ctrl-C is ignored, and so it is by all that they start.
INTERRUPTIBLE = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('data_fetch', run_name='__main__')"
)


@pytest.fixture
def dead():
    """An address where certainly nobody answers: its port is bound, and nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}"


def client(server, **settings):
    return data_fetch.Archive("small", server.url, f"{server.url}/sas", **{"timeout": 30, "backoff": 0} | settings)


def fetch(server, out, **settings):
    return data_fetch.fetch("pretext", archive=client(server, **settings), out=out, progress=False, **REQUEST)


def always(fault, pattern="frame-"):
    return lambda kind, path, count: fault if re.search(pattern, path) else None


LEADING_NOWHERE = {
    "a body that is not packed as its header says": Fault(headers=(("Content-Encoding", "gzip"),), body=b"no gzip"),
    "a redirect in a circle": Fault(302, (("Location", f"/{FIRST_FRAME}.fits.bz2"),)),
    "a redirect to another protocol": Fault(302, (("Location", "ftp://127.0.0.1/frame"),)),
    "a redirect to half an address": Fault(302, (("Location", "http://[::1/frame"),)),
    "a redirect to an impossible port": Fault(302, (("Location", "http://127.0.0.1:99999999/frame"),)),
}


@pytest.mark.parametrize("fault", LEADING_NOWHERE.values(), ids=LEADING_NOWHERE)
def test_answer_that_leads_nowhere_costs_one_frame(fault, server, tmp_path):
    server.faults.append(always(fault, FIRST_FRAME))
    cutouts = fetch(server, tmp_path / "set")
    missing = Table.read(tmp_path / "set" / "missing.ecsv")
    assert len(missing) == OBJECTS and len(cutouts) == (FIELDS - 1) * OBJECTS
    assert all(FIRST_FRAME in reason for reason in missing["reason"])
    assert (
        len([path for path in server.asked("frame") if FIRST_FRAME in path]) <= 3 * 6
    )  # of redirects, five are followed


def test_redirect_to_a_dead_server_costs_one_frame(server, dead, tmp_path):
    server.faults.append(always(Fault(302, (("Location", dead),)), FIRST_FRAME))
    fetch(server, tmp_path / "set")
    missing = Table.read(tmp_path / "set" / "missing.ecsv")
    assert len(missing) == OBJECTS and f"sent us on to {dead[7:]}, which cannot be reached" in missing["reason"][0]


def test_answers_of_releases_are_kept_apart(server, tmp_path):
    for release in (16, 17, 16, 17):
        client(server, release=release).query("SELECT p.objID FROM PhotoObj AS p", folder=tmp_path)
    assert len(server.asked("sql")) == 2


@pytest.mark.parametrize("where", [*LEADING_NOWHERE, "a dead server"])
def test_answer_to_sql_that_leads_nowhere_stops_the_fetch_which_goes_on_later(where, server, dead, tmp_path):
    fault = LEADING_NOWHERE.get(where, Fault(302, (("Location", dead),)))
    if where == "a redirect in a circle":
        fault = Fault(302, (("Location", "/x_results"),))
    server.faults.append(lambda kind, path, count: fault if kind == "sql" else None)
    with pytest.raises(data_fetch.ArchiveError, match="The query was"):
        fetch(server, tmp_path / "set")
    assert len(server.asked("sql")) <= 3 * 6
    server.faults.clear()
    assert len(fetch(server, tmp_path / "set")) == FIELDS * OBJECTS


@pytest.mark.parametrize(
    "fault, limit, words",
    [
        (Fault(body=bytes(10_000)), ("MOST_TABLE", 1e3), "sent more than"),
        *((Fault(act=act), ("PATIENCE", 1 / 600), "took more than 0.1 seconds") for act in DRIPS),
    ],
)
def test_sql_without_end_is_given_up(fault, limit, words, server, monkeypatch):
    monkeypatch.setattr(f"data_fetch.archive.{limit[0]}", limit[1])
    server.faults.append(always(fault, "."))
    with pytest.raises(data_fetch.ArchiveError, match=words):
        client(server).query("SELECT 1")
    assert len(server.asked("sql")) == 3


def test_server_on_this_computer_is_not_asked_for_through_a_proxy(server, dead, tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, dead)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert len(fetch(server, tmp_path / "set")) == FIELDS * OBJECTS


@pytest.mark.parametrize("away", [1, 5, 6])
def test_server_that_is_away_for_a_moment_is_asked_again(server, dead, away):
    tries = []

    def send():
        tries.append(1)
        return requests.get(dead if len(tries) <= away else f"{server.url}/{FIRST_FRAME}.fits.bz2", timeout=30)

    def question():
        return ask(dead, send, lambda body, same: body, data_fetch.FrameError, 0)

    if away == 6:
        with pytest.raises(data_fetch.ArchiveError, match="cannot be reached"):
            question()
    else:
        assert question() == frame_bytes(3, "r")
    assert len(tries) == min(away + 1, 6)


def test_answers_that_are_too_long_are_given_up_and_so_are_their_connections(server, tmp_path, monkeypatch):
    monkeypatch.setattr("data_fetch.archive.MOST_FRAME", 1e6)
    server.faults.append(always(Fault(body=bytes(10_000_000)), "frame-r-.*-000[34]"))
    cutouts = fetch(server, tmp_path / "set")  # more of these answers than there may be connections
    assert len(cutouts) == (FIELDS - 2) * OBJECTS
    assert "sent more than 1 MB" in Table.read(tmp_path / "set" / "missing.ecsv")["reason"][0]


@pytest.mark.parametrize("act", DRIPS)
def test_answer_that_comes_byte_by_byte_is_given_up(act, server, tmp_path, monkeypatch):
    monkeypatch.setattr("data_fetch.archive.PATIENCE", 1 / 300)
    server.faults.append(always(Fault(act=act)))
    with pytest.raises(data_fetch.FrameError, match="took more than 0.1 seconds"):
        client(server).read_frame(**FRAME, folder=tmp_path)


def test_frame_that_unpacks_to_too_much_is_refused():
    with pytest.raises(data_fetch.FrameError, match="unpacks to more than 64,000,000 bytes"):
        data_fetch.Frame.decode(bz2.compress(bytes(70_000_000), 1), **FRAME)


def test_frame_behind_many_empty_streams_is_refused():
    with pytest.raises(data_fetch.FrameError, match="holds more than 16 streams"):
        data_fetch.Frame.decode(16 * bz2.compress(b"") + frame_bytes(3, "r"), **FRAME)


def test_frame_that_was_packed_in_parts_is_whole():
    whole = bz2.decompress(frame_bytes(3, "r"))
    parts = bz2.compress(whole[:5000], 1) + bz2.compress(whole[5000:], 1)
    for packed in (parts, parts + b"rubbish"):
        assert data_fetch.Frame.decode(packed, **FRAME).data.max() > 3
    with pytest.raises(data_fetch.FrameError, match="not a whole bz2 file"):
        data_fetch.Frame.decode(parts[:-20], **FRAME)


@pytest.mark.parametrize("hdu", [0, 2])
def test_frame_whose_header_counts_for_hours_is_refused(hdu):
    parts = bz2.decompress(frame_bytes(3, "r")).split(b"NAXIS   =")
    parts[hdu + 1] = b"99999".rjust(21) + parts[hdu + 1][21:]  # as 99999999999999999999999 is, for which nobody waits
    with pytest.raises(data_fetch.FrameError, match="not a FITS file .a header says NAXIS = 99999: FITS allows 999"):
        data_fetch.Frame.decode(bz2.compress(b"NAXIS   =".join(parts), 1), **FRAME)


@pytest.mark.timeout(120)
def test_interrupt_ends_every_wait(server, tmp_path):
    server.faults.append(always(Fault(503, MUCH_LATER)))
    options = ["pretext", "--n", "36", "--archive", server.url, "--out", tmp_path / "set"]
    command = [sys.executable, "-c", INTERRUPTIBLE, *options]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE) as process:
        server.wait_until_asked("frame-")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and b"goes on from here" in said


def test_threads_that_wait_for_their_turn_send_nothing_after_the_end(server, tmp_path):
    stop, archive = threading.Event(), client(server)
    server.faults.append(always(Fault(body=lambda true: (stop.wait(60), true)[1])))  # no answer before the end
    threads = 3 * CONNECTIONS
    with ThreadPoolExecutor(threads) as pool:
        wanted = [{**FRAME, "field": 1 + i % FIELDS, "band": "gr"[i // FIELDS]} for i in range(threads)]
        asked = [pool.submit(archive.read_frame, **which, folder=tmp_path, stop=stop) for which in wanted]
        while len(server.asked("frame")) < CONNECTIONS:
            time.sleep(0.01)
        time.sleep(0.2)  # the others wait by now
        stop.set()
        ends = [future.exception() for future in asked]
    assert len(server.asked("frame")) == CONNECTIONS
    assert sum("the fetch has ended" in str(end) for end in ends) >= threads - CONNECTIONS


@pytest.mark.parametrize("act", ["stall", *DRIPS])
def test_an_answer_that_nobody_wants_any_more_is_not_read_to_its_end(act, server, tmp_path):
    stop, start = threading.Event(), time.monotonic()
    server.faults.append(lambda *_: stop.set() or Fault(act=act))
    with pytest.raises(data_fetch.FrameError, match="the fetch has ended"):
        client(server).read_frame(**FRAME, folder=tmp_path, stop=stop)
    assert time.monotonic() - start < 10


def test_a_wait_that_nothing_can_end_is_a_sleep(server, monkeypatch):
    waits = []
    monkeypatch.setattr("data_fetch.transport.time", SimpleNamespace(sleep=waits.append))  # not that of the server
    with pytest.raises(RequestError):
        ask(server.url, lambda: requests.get(f"{server.url}/{FIRST_FRAME}.fits.bz2"), refuse, AnswerError, 3)
    assert waits == [0, 6]


@pytest.mark.parametrize("times, waits", [(1, [60]), (9, [60] * 5)])
def test_minute_of_a_server_that_counts_queries_is_waited_for(times, waits, server, tmp_path, monkeypatch):
    waited, clock = [], SimpleNamespace(sleep=lambda seconds: waited.append(seconds), monotonic=time.monotonic)
    monkeypatch.setattr("data_fetch.transport.time", clock)
    too_often = Fault(body=b"#Table1\nerror_message\nMaximum 60 queries allowed per minute. Rejected query: SELECT\n")
    server.faults.append(lambda kind, path, count: too_often if kind == "sql" and count < times else None)
    archive = client(server)
    if times > 5:
        with pytest.raises(data_fetch.ArchiveError, match="is asked too often: .*60 queries allowed per minute"):
            data_fetch.plan("pretext", archive=archive, **REQUEST)
    else:
        assert len(fetch(server, tmp_path / "set")) == FIELDS * OBJECTS
    assert set(waited) - {0} == {60} and waited[: len(waits)] == waits


def refuse(body, same):
    raise AnswerError("gave nonsense")


@pytest.mark.timeout(120)
def test_giving_up_ends_every_wait(server, tmp_path, monkeypatch):
    monkeypatch.setattr("data_fetch.build.GIVE_UP", 1)
    field = data_fetch.plan("pretext", archive=client(server), **REQUEST).catalogue["field"][0]
    server.faults += [always(Fault(500), f"-{field:04d}.fits"), always(Fault(503, MUCH_LATER))]
    with pytest.raises(data_fetch.ArchiveError, match="1 fields in a row failed"):
        fetch(server, tmp_path / "set")


def test_cutouts_that_wait_to_be_written_have_bounds(server, tmp_path, monkeypatch):
    waiting, most = [], []
    write = data_fetch.folder.WorkFolder.add_field

    def count(self, number, images, missing, again):
        most.append(len(server.asked("frame")) - 2 * len(most))
        waiting.append(number)
        return write(self, number, images, missing, again)

    monkeypatch.setattr("data_fetch.build.AHEAD_BYTES", 1)
    monkeypatch.setattr("data_fetch.folder.WorkFolder.add_field", count)
    assert len(fetch(server, tmp_path / "set")) == FIELDS * OBJECTS
    assert len(waiting) == FIELDS and max(most) == 2  # frames of one field, in two bands


def test_sdss_is_asked_no_more_often_than_it_allows():
    with data_fetch.open_archive("sdss") as archive:
        assert 0 < archive.queries_per_minute <= 60  # https://skyserver.sdss.org/dr17/SearchTools/sql
