"""A fetch through every fault gives the bytes of an undisturbed one; each line of jupyter-book/faults.md is here."""

import bz2
import json
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import zlib
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

import data_fetch
from astro_ssl_nb.cutouts import CutoutSet
from astro_ssl_nb.files import whole_file
from data_fetch import draws
from data_fetch.folder import WORK, WorkFolder

from .faults import FIELDS, OBJECTS, Fault, FaultyArchive, frame_bytes

REPOSITORY = Path(__file__).parents[2]
N, HTML = FIELDS * OBJECTS, b"<html><title>Maintenance</title></html>"
FIRST_FRAME = r"frame-r-009201-1-0003"


@pytest.fixture
def server():
    with closing(FaultyArchive()) as server:
        yield server


REQUEST = {"n": N, "bands": "gr", "size": 16}


def client(server, **settings):
    return data_fetch.Archive("small", server.url, f"{server.url}/sas", **{"timeout": 30, "backoff": 0.01} | settings)


def fetch(server, out, **settings):
    return data_fetch.fetch("pretext", archive=client(server, **settings), out=out, progress=False, **REQUEST)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    with closing(FaultyArchive()) as server:
        out = tmp_path_factory.mktemp("undisturbed") / "set"
        fetch(server, out)
        assert server.most_connections <= 4
    return out


def assert_same(out, other):
    for name in ("images.npy", "catalogue.parquet"):
        assert (out / name).read_bytes() == (other / name).read_bytes(), name
    assert data_fetch.verify(out) == []
    assert not (out / WORK).exists() and not (out / "missing.ecsv").exists()
    assert not list(out.parent.rglob("*.part"))


def assert_nothing_twice(server):
    for kind in ("sql", "frame"):
        true = server.asked(kind, answered=True)
        # An answer without rows is asked for a second time before it is believed.
        rows = [path for path in true if kind == "frame" or server._truth(kind, path).count(b"\n") > 2]
        assert rows and len(rows) == len(set(rows))


def once(kind, fault, pattern=""):
    left = [fault]
    return lambda k, path, count: left.pop() if left and k == kind and re.search(pattern, path) else None


def first_time(kind, fault):
    return lambda k, path, count: fault if k == kind and count == 0 else None


def always(kind, fault, pattern=""):
    return lambda k, path, count: fault if k == kind and re.search(pattern, path) else None


def spoiled(change):
    return Fault(body=frame_bytes(3, "r", change))


def set_nan(hdus):
    hdus[0].data[690:720, 290:310] = np.nan


def no_image(hdus):
    hdus[0].data = None


def no_sky(hdus):
    del hdus[2:]


def no_astrometry(hdus):
    del hdus[0].header["CD1_1"]


ANY = {
    "an HTML page with status 200": Fault(body=HTML),
    "zero bytes": Fault(),
    "a reset connection": Fault(act="reset"),
}
# SQL takes the same way through these; test_rate_and_connections has them for both.
FRAME = {
    "503 with Retry-After": Fault(503, (("Retry-After", "0"),)),
    "429": Fault(429, (("Retry-After", "0"),)),
    "a Retry-After that is no date": Fault(503, (("Retry-After", "soon"),)),
    "a body that breaks off": Fault(body=lambda true: true, cut=60),
}
TRANSPORT = [*ANY.values(), *FRAME.values()]
FRAME |= {
    "a stalled connection": Fault(act="stall"),
    "a truncated bz2": Fault(body=lambda true: true[: len(true) // 2]),
    "a bz2 of something else": Fault(body=bz2.compress(b"no FITS")),
    "a frame with NaN pixels": spoiled(set_nan),
    "a frame without an image": spoiled(no_image),
    "a frame without its sky": spoiled(no_sky),
    "a frame without its astrometry": spoiled(no_astrometry),
    "another frame": Fault(body=lambda true: frame_bytes(1, "g")),
}
SQL = {
    "a header without rows": Fault(body=lambda true: b"\n".join(true.split(b"\n")[:2]) + b"\n"),
    "half of the last line": Fault(body=lambda true: true[:-9]),
    "text for a number": Fault(body=lambda true: true.replace(b"17.5", b"bright")),
    "rows without an id": Fault(body=lambda true: re.sub(rb"\n\d{10,}", b"\nnull", true)),
}
PASSING = [
    *(pytest.param("frame", fault, id=f"{name} for a frame") for name, fault in (ANY | FRAME).items()),
    *(pytest.param("sql", fault, id=f"{name} for SQL") for name, fault in (ANY | SQL).items()),
]


@pytest.mark.parametrize("kind, fault", PASSING)
def test_passing_fault_leaves_no_trace(kind, fault, server, undisturbed, tmp_path):
    # The first answers to SQL may have no rows that could be spoiled.
    server.faults.append(once(kind, fault, FIRST_FRAME) if kind == "frame" else first_time(kind, fault))
    fetch(server, tmp_path / "set", timeout=0.5 if fault.act == "stall" else 30)
    assert not all(true for *_, true in server.log)
    assert_same(tmp_path / "set", undisturbed)
    assert_nothing_twice(server)
    assert server.most_connections <= 4


def test_retry_after_is_waited_for(server, tmp_path):
    server.faults.append(once("frame", Fault(503, (("Retry-After", "1"),)), FIRST_FRAME))
    fetch(server, tmp_path / "set")
    first, second = (when for when, _, path, _ in server.log if re.search(FIRST_FRAME, path))
    assert second - first >= 1


def test_stalled_query_is_given_up_and_sent_again(server, undisturbed, tmp_path):
    server.faults.append(once("sql", Fault(act="stall")))
    # The answers are kept for the fetch, whose frames get more time.
    data_fetch.plan("pretext", archive=client(server, timeout=0.05), out=tmp_path / "set", **REQUEST)
    fetch(server, tmp_path / "set")
    assert len(server.asked("sql")) == 1 + len(server.asked("sql", answered=True))
    assert_same(tmp_path / "set", undisturbed)


@pytest.mark.parametrize(
    "fault, times, reason",
    [
        (Fault(404), 1, "HTTP 404"),
        (Fault(403), 1, "HTTP 403"),
        (Fault(body=HTML), 3, "not a whole bz2"),
        (Fault(act="reset"), 3, "broke off"),
        (Fault(503, (("Retry-After", "0"),)), 6, "HTTP 503"),
        (Fault(503, (("Retry-After", "86400"),)), 1, "asks to wait more than 600 seconds"),
        (spoiled(set_nan), 2, "not finite"),
    ],
)
def test_lasting_fault_is_listed_and_the_rest_completes(fault, times, reason, server, undisturbed, tmp_path):
    out = tmp_path / "set"
    server.faults.append(always("frame", fault, FIRST_FRAME))
    cutouts = fetch(server, out)
    assert sum(bool(re.search(FIRST_FRAME, path)) for path in server.asked("frame")) == times
    missing = Table.read(out / "missing.ecsv")
    assert all(reason in text for text in missing["reason"])
    whole = Table.read(undisturbed / "catalogue.parquet")
    lost = np.isin(whole["objid"], missing["objid"])
    assert lost.sum() == len(missing) == cutouts.card["missing"] and data_fetch.verify(out) == []
    # A pixel that is not a number costs the one object around it, all else the whole frame.
    assert len(missing) == (1 if reason == "not finite" else OBJECTS)
    assert np.array_equal(cutouts.images, np.load(undisturbed / "images.npy")[~lost])
    stored = {path.name for path in (tmp_path / "frames").rglob("*.bz2")}
    assert len(stored) == 2 * FIELDS - (reason != "not finite")

    # The same command tries again what may be had another time, and asks for nothing else.
    passing = reason not in ("HTTP 404", "not finite")
    assert set(missing["retry"]) == {str(passing)} or set(missing["retry"]) == {passing}
    server.faults.clear()
    server.log.clear()
    fetch(server, out)
    assert len(server.log) == passing and server.asked("sql") == []
    if passing:
        assert_same(out, undisturbed)


def test_archive_that_breaks_down_is_left_alone_and_goes_on_later(server, undisturbed, tmp_path):
    server.faults.append(always("frame", Fault(500)))
    with pytest.raises(data_fetch.ArchiveError, match="5 fields in a row failed.*HTTP 500"):
        fetch(server, tmp_path / "set")
    server.faults.clear()
    fetch(server, tmp_path / "set")
    assert_same(tmp_path / "set", undisturbed)
    assert_nothing_twice(server)


def test_run_goes_on_with_the_right_images_where_the_choice_of_objects_changed(
    server, undisturbed, tmp_path, monkeypatch
):
    """As after an upgrade: the fields that are done have other numbers."""

    def kill(*_):
        raise KeyboardInterrupt

    out, field_hash = tmp_path / "set", draws.field_hash
    server.faults.append(always("frame", Fault(500), r"-000[456]\.fits"))
    fetch(server, out)
    server.faults.clear()
    monkeypatch.setattr(draws, "field_hash", lambda *args: -field_hash(*args))
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(WorkFolder, "add_field", kill)
        fetch(server, out)
    cutouts, whole = fetch(server, out), CutoutSet.open(undisturbed)
    assert len(cutouts) == N
    assert list(cutouts.catalogue["objid"]) != list(whole.catalogue["objid"])
    ours, theirs = (np.argsort(np.asarray(of.catalogue["objid"])) for of in (cutouts, whole))
    np.testing.assert_array_equal(np.asarray(cutouts.images)[ours], np.asarray(whole.images)[theirs])
    assert_nothing_twice(server)


def test_set_with_fewer_images_than_objects_is_never_written(server, tmp_path):
    server.faults.append(always("frame", Fault(500), FIRST_FRAME))
    fetch(server, tmp_path / "set")
    server.faults.clear()
    journal = tmp_path / "set" / WORK / "journal.jsonl"
    journal.write_text(journal.read_text().replace(f'"kept": {OBJECTS}', f'"kept": {OBJECTS - 1}', 1))
    with pytest.raises(data_fetch.FetchError, match=f"holds {N - 1} images of {N} objects: remove {tmp_path / 'set'}"):
        fetch(server, tmp_path / "set")


def test_damaged_files_of_an_interrupted_run_are_fetched_again(server, undisturbed, tmp_path):
    server.faults.append(always("frame", Fault(404)))
    with pytest.raises(data_fetch.FetchError, match="none of the"):
        fetch(server, tmp_path / "set")
    for path in (tmp_path / "set" / WORK / "answers").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    (tmp_path / "set" / WORK / "journal.jsonl").unlink()
    server.faults.clear()
    fetch(server, tmp_path / "set")
    assert_same(tmp_path / "set", undisturbed)


def test_lasting_answer_without_rows_is_believed(server, tmp_path):
    server.faults.append(always("sql", SQL["a header without rows"]))
    with pytest.raises(data_fetch.FetchError, match="has 0 objects"):
        fetch(server, tmp_path / "set")


def test_answer_at_the_row_cap_is_asked_for_in_parts(server, undisturbed, tmp_path):
    cap = 2 * OBJECTS + 1
    cut = Fault(body=lambda true: b"".join(true.splitlines(keepends=True)[: 2 + cap]))
    server.faults.append(always("sql", cut))
    fetch(server, tmp_path / "set", max_rows=cap)
    assert max(server._truth("sql", path).count(b"\n") - 2 for path in server.asked("sql")) > cap
    assert_same(tmp_path / "set", undisturbed)


def test_rate_and_connections_stay_within_their_limits_through_faults(server, tmp_path):
    server.pause = 0.02

    def first_time(kind, path, count):
        return None if count else TRANSPORT[zlib.crc32(path.rsplit("/", 1)[1].encode()) % len(TRANSPORT)]

    server.faults.append(first_time)
    fetch(server, tmp_path / "set", queries_per_minute=1200)
    times = np.array([when for when, kind, *_ in server.log if kind == "sql"])
    assert len(times) > 5 and np.diff(times).min() >= 0.05
    assert 2 <= server.most_connections <= 4


COMMAND = [sys.executable, "-m", "data_fetch", "pretext", "--n", str(N), "--bands", "gr", "--size", "16"]


def run(server, out):
    command = [*COMMAND, "--archive", server.url, "--out", str(out)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def kill_at_request(server, process, number, delay):
    """Have the server kill a process so long (s) after a request: no waiting here, and a killed one ends at once."""

    def kill(*_):
        if len(server.log) == number:
            threading.Timer(delay, process.kill).start()

    server.faults[:] = [kill]


def test_killed_five_times_at_random_moments(server, undisturbed, tmp_path, command):
    rng = np.random.default_rng(0)
    stored, out, kills = set(), tmp_path / "set", 0
    for _ in range(5):
        begun = len(server.log)
        with run(server, out) as process:
            kill_at_request(server, process, begun + rng.integers(10), rng.uniform(0, 0.03))
            process.communicate(timeout=60)
        assert process.returncode in (0, -signal.SIGKILL)
        kills += process.returncode != 0
        asked = {path.rsplit("/", 1)[1] for _, kind, path, _ in server.log[begun:] if kind == "frame"}
        assert not stored & asked  # what was on disk before this run was not asked for
        stored = {path.name for path in (tmp_path / "frames").rglob("*.bz2")}
    assert kills >= 3 and stored
    assert command(*COMMAND[3:], "--archive", server.url, "--out", out).returncode == 0
    assert_same(out, undisturbed)


@pytest.mark.parametrize("bytes_", [200, 3000, 30_000])
def test_full_disk_is_said_and_survived(bytes_, server, undisturbed, tmp_path, command, small_disk):
    arguments = [*COMMAND[3:], "--archive", server.url, "--out", tmp_path / "set"]
    with small_disk(bytes_):
        full = command(*arguments)
    assert full.returncode == 2 and "Traceback" not in full.err, full.err
    assert re.search(r"error: cannot (write to|read or write) \S+ \(File too large\): make room", full.err), full.err
    assert command(*arguments).returncode == 0
    assert_same(tmp_path / "set", undisturbed)


def test_two_writers_of_a_file_do_not_share_their_parts_and_those_of_the_dead_are_removed(tmp_path, monkeypatch):
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    path, host = tmp_path / "card [1].json", platform.node()
    others = [f"{path.name}.{name}.part" for name in (f"{host}.{os.getppid()}", "elsewhere.1", f"{host}.mine")]
    for name in (f"{path.name}.{host}.{dead.pid}.part", *others):
        (tmp_path / name).touch()
    with whole_file(path) as first:
        first.write(b"first")
        monkeypatch.setattr("os.getpid", lambda: 1)
        with whole_file(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert {found.name for found in tmp_path.iterdir()} == {path.name, *others}


def test_second_process_is_told_who_is_at_work_and_a_dead_one_is_no_obstacle(server, undisturbed, tmp_path, command):
    out = tmp_path / "set"
    server.faults.append(once("frame", Fault(act="stall"), FIRST_FRAME))
    with run(server, out) as first:
        server.wait_until_asked(FIRST_FRAME)
        done = command(*COMMAND[3:], "--archive", server.url, "--out", out)
        first.kill()
    assert done.returncode == 2 and len(done.err.strip().splitlines()) == 1
    assert f"{out} is being filled by process {first.pid}" in done.err
    assert command(*COMMAND[3:], "--archive", server.url, "--out", out).returncode == 0
    assert_same(out, undisturbed)


@pytest.mark.parametrize(
    "name, damage, words",
    [
        ("images.npy", lambda b: b[:-1] + b"\x01", "images.npy is not the file that was fetched"),
        ("images.npy", lambda b: b[:-4] + np.float32(np.nan).tobytes(), "1 images have pixels that are not finite"),
        ("images.npy", lambda b: b[:-100], "cannot be read as a CutoutSet"),
        ("catalogue.parquet", lambda b: b"", "catalogue.parquet is not the file that was fetched"),
        ("card.json", lambda b: b.replace(b'"missing": 0', b'"missing": 3'), "the card counts 3 missing objects"),
        ("card.json", lambda b: b.replace(b'"n": 36', b'"n": 50'), "50 objects were asked for: 36 are here"),
        ("card.json", lambda b: b"{}", "names no checksums"),
        (
            "missing.ecsv",
            lambda b: b"# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int64}\na\n1\n",
            "'objid'",
        ),
    ],
)
def test_verify_says_what_is_wrong(name, damage, words, undisturbed, tmp_path, command):
    for file in {"images.npy", "catalogue.parquet", "card.json", name}:
        content = (undisturbed / file).read_bytes() if (undisturbed / file).exists() else b""
        (tmp_path / file).write_bytes(damage(content) if file == name else content)
    done = command("verify", tmp_path)
    assert done.returncode == 2 and words in done.err and "Traceback" not in done.err
    good = command("verify", undisturbed)
    assert good.returncode == 0 and "is as it was fetched" in good.out


def test_set_without_a_request_can_be_verified(undisturbed, tmp_path):
    for file in ("images.npy", "catalogue.parquet", "card.json"):
        (tmp_path / file).write_bytes((undisturbed / file).read_bytes())
    card = json.loads((tmp_path / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps(card | {"request": None}))
    assert data_fetch.verify(tmp_path) == []
