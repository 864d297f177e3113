"""One answer that leads nowhere costs one frame, an outage costs a wait, and the end of a fetch ends every wait."""

import bz2
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import requests
from astropy.table import Table

import data_fetch
from data_fetch.transport import ask

from .faults import FIELDS, OBJECTS, Fault, FaultyArchive, frame_bytes

REPOSITORY = Path(__file__).parents[2]
REQUEST = {"n": FIELDS * OBJECTS, "bands": "gr", "size": 16}
FRAME = {"run": 9201, "camcol": 1, "field": 3, "band": "r"}
FIRST_FRAME = "frame-r-009201-1-0003"
MUCH_LATER = (("Retry-After", "500"),)


@pytest.fixture
def server():
    with closing(FaultyArchive()) as server:
        yield server


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


def test_answer_that_comes_byte_by_byte_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr("data_fetch.archive.PATIENCE", 1 / 60)
    server.faults.append(always(Fault(act="drip")))
    with pytest.raises(data_fetch.FrameError, match="took more than 0.5 seconds"):
        client(server).read_frame(**FRAME, folder=tmp_path)


def test_frame_that_unpacks_to_too_much_is_refused():
    with pytest.raises(data_fetch.FrameError, match="unpacks to more than 64,000,000 bytes"):
        data_fetch.Frame.decode(bz2.compress(bytes(70_000_000), 1), **FRAME)


def test_frame_that_was_packed_in_parts_is_whole():
    whole = bz2.decompress(frame_bytes(3, "r"))
    parts = bz2.compress(whole[:5000], 1) + bz2.compress(whole[5000:], 1)
    for packed in (parts, parts + b"rubbish"):
        assert data_fetch.Frame.decode(packed, **FRAME).data.max() > 3
    with pytest.raises(data_fetch.FrameError, match="not a whole bz2 file"):
        data_fetch.Frame.decode(parts[:-20], **FRAME)


@pytest.mark.timeout(120)
def test_interrupt_ends_every_wait(server, tmp_path):
    server.faults.append(always(Fault(503, MUCH_LATER)))
    command = [sys.executable, "-m", "data_fetch", "pretext", "--n", "36", "--archive", server.url]
    with subprocess.Popen([*command, "--out", tmp_path / "set"], cwd=REPOSITORY, stderr=subprocess.PIPE) as process:
        server.wait_until_asked("frame-")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and b"goes on from here" in said


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
