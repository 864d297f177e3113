"""A fetch through every fault of a server gives the bytes of an undisturbed one.

Each line of jupyter-book/faults.md is here, or in test_interruptions.py, or in the file that it names.
"""

import bz2
import os
import re
import shutil
import zlib

import numpy as np
import pytest
from astropy.table import Table

import data_fetch
from astro_ssl_nb.cutouts import CutoutSet
from data_fetch import draws
from data_fetch.answers import AnswerError, read_answer
from data_fetch.folder import WORK, WorkFolder
from data_fetch.transport import CONNECTIONS

from .faults import (
    FIELDS,
    FIRST_FRAME,
    OBJECTS,
    REQUEST,
    Fault,
    N,
    assert_same,
    client,
    fetch,
    frame_bytes,
    once,
)

HTML = b"<html><title>Maintenance</title></html>"


def assert_nothing_twice(server):
    for kind in ("sql", "frame"):
        true = server.asked(kind, answered=True)
        # An answer without rows is asked for a second time before it is believed.
        rows = [path for path in true if kind == "frame" or server._truth(kind, path).count(b"\n") > 2]
        assert rows and len(rows) == len(set(rows))


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


def far_away(hdus):
    hdus[0].header["CRVAL1"] = 1.0


def card(name, value):
    """A frame with a card that is not as FITS has it."""

    def body(true):
        raw = bz2.decompress(true)
        start = raw.index(f"{name:<8}=".encode())
        return bz2.compress(raw[:start] + f"{name:<8}= {value}".ljust(80).encode() + raw[start + 80 :], 1)

    return Fault(body=body)


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
    "a Retry-After beyond the calendar": Fault(429, (("Retry-After", "Fri, 31 Dec 99999 23:59:59 GMT"),)),
    "a Retry-After of too many digits": Fault(503, (("Retry-After", "9" * 5000),)),
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
    "a frame whose astrometry is no number": card("CRVAL1", "NaN"),
    "a frame whose astrometry is text": card("CD1_1", "'abc'"),
    "a frame whose astrometry is empty": card("CRPIX1", ""),
    "a frame whose run is no number": card("RUN", "INF"),
    "a frame of another place": spoiled(far_away),
    "another frame": Fault(body=lambda true: frame_bytes(1, "g")),
}
SQL = {
    "a header without rows": Fault(body=lambda true: b"\n".join(true.split(b"\n")[:2]) + b"\n"),
    "half of the last line": Fault(body=lambda true: true[:-9]),
    "text for a number": Fault(body=lambda true: true.replace(b"17.5", b"bright")),
    "rows without an id": Fault(body=lambda true: re.sub(rb"\n\d{10,}", b"\nnull", true)),
    "an id below zero": Fault(body=lambda true: re.sub(rb"\n\d{10,}", b"\n-1", true, count=1)),
    "a run without end": Fault(body=lambda true: true.replace(b",9201,", b"," + 20 * b"9" + b",", 1)),
    "a run that is not known": Fault(body=lambda true: true.replace(b",9201,", b",-9999,", 1)),
    "a run that is no number": Fault(body=lambda true: true.replace(b",9201,", b",nan,", 1)),
    "a place that is not known": Fault(body=lambda true: re.sub(rb"(\n\d{10,}),[^,]+,", rb"\1,-9999,", true, count=1)),
    "a place beyond the pole": Fault(body=lambda true: re.sub(rb"(\n\d{10,},[^,]+),[^,]+", rb"\1,95.0", true, count=1)),
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
    data_fetch.plan("pretext", archive=client(server, timeout=0.1), out=tmp_path / "set", **REQUEST)
    asked = server.asked("sql")
    assert asked[0] == asked[1], "the query that got no answer is sent again"
    fetch(server, tmp_path / "set")
    assert server.asked("sql") == asked, "the fetch asks for nothing that the plan has"
    assert_same(tmp_path / "set", undisturbed)


@pytest.mark.parametrize(
    "fault, times, reason",
    [
        (Fault(404), 1, "HTTP 404"),
        (Fault(410), 1, "HTTP 410"),
        (Fault(403), 1, "HTTP 403"),
        (Fault(body=HTML), 3, "not a whole bz2"),
        (Fault(act="reset"), 3, "broke off"),
        (Fault(503, (("Retry-After", "0"),)), 6, "HTTP 503"),
        (Fault(503, (("Retry-After", "86400"),)), 1, "asks to wait more than 600 seconds"),
        (spoiled(set_nan), 2, "not finite"),
        (card("CRVAL1", "NaN"), 3, "header that cannot be read"),
        (spoiled(far_away), 3, "far from the 6 objects that the catalogue has in it"),
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
    passing = reason not in ("HTTP 404", "HTTP 410", "not finite")
    assert set(missing["retry"]) == {str(passing)} or set(missing["retry"]) == {passing}
    server.faults.clear()
    server.log.clear()
    fetch(server, out)
    assert len(server.log) == passing and server.asked("sql") == []
    if passing:
        assert_same(out, undisturbed)


def test_kept_frame_of_another_place_is_fetched_again(server, undisturbed, tmp_path):
    path = client(server).frame_path(9201, 1, 3, "r", tmp_path / "frames")
    path.parent.mkdir(parents=True)
    path.write_bytes(frame_bytes(3, "r", far_away))
    fetch(server, tmp_path / "set")
    assert_same(tmp_path / "set", undisturbed)
    assert path.read_bytes() == frame_bytes(3, "r")


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
    asked = server.asked("frame", answered=True)
    assert len(asked) - len(set(asked)) <= CONNECTIONS, "nothing twice but what was under way when it was killed"


@pytest.mark.parametrize("step", ["finish", "clear"])  # before the first of the new files, and behind the last
def test_run_that_is_stopped_at_its_end_is_not_taken_for_complete(step, server, undisturbed, tmp_path, monkeypatch):
    def kill(*_):
        raise KeyboardInterrupt

    out = tmp_path / "set"
    server.faults.append(always("frame", Fault(403), FIRST_FRAME))
    fetch(server, out)
    server.faults.clear()
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(WorkFolder, step, kill)
        fetch(server, out)
    server.log.clear()
    fetch(server, out)
    assert server.log == [], "what it fetched is kept"
    assert_same(out, undisturbed)


def test_set_with_fewer_images_than_objects_is_never_written(server, tmp_path):
    server.faults.append(always("frame", Fault(500), FIRST_FRAME))
    fetch(server, tmp_path / "set")
    server.faults.clear()
    journal = tmp_path / "set" / WORK / "journal.jsonl"
    text = re.sub(r', "crc": \d+', "", journal.read_text())  # as an older version wrote it
    journal.write_text(text.replace(f'"kept": {OBJECTS}', f'"kept": {OBJECTS - 1}', 1))
    with pytest.raises(data_fetch.FetchError, match=f"holds {N - 1} images of {N} objects: remove {tmp_path / 'set'}"):
        fetch(server, tmp_path / "set")


@pytest.mark.parametrize("when", ["between two runs", "while it is at work"])
def test_damaged_images_of_an_unfinished_set_are_cut_again(when, server, undisturbed, tmp_path, monkeypatch):
    def damage():
        with open(tmp_path / "set" / WORK / "images.f4", "r+b") as images:
            images.seek(4000)
            images.write(bytes(4000))

    server.faults.append(always("frame", Fault(403), FIRST_FRAME))
    fetch(server, tmp_path / "set")
    server.faults.clear()
    if when == "between two runs":
        damage()
    else:
        with monkeypatch.context() as failing, pytest.raises(data_fetch.FetchError, match="images.f4 was damaged"):
            begin = WorkFolder.begin
            failing.setattr(WorkFolder, "begin", lambda *args: (begin(*args), damage())[0])
            fetch(server, tmp_path / "set")
    fetch(server, tmp_path / "set")
    assert_same(tmp_path / "set", undisturbed)
    assert_nothing_twice(server)


def test_work_of_an_older_version_is_gone_on_with(server, undisturbed, tmp_path):
    server.faults.append(always("frame", Fault(403), FIRST_FRAME))
    fetch(server, tmp_path / "set")
    server.faults.clear()
    journal = tmp_path / "set" / WORK / "journal.jsonl"
    journal.write_text(re.sub(r', "crc": \d+', "", journal.read_text()))
    shutil.rmtree(tmp_path / "frames")  # from which else everything could be cut again
    server.log.clear()
    fetch(server, tmp_path / "set")
    assert len(server.asked("frame")) == 2  # of the field that was missing, in two bands
    assert_same(tmp_path / "set", undisturbed)


def test_images_that_the_disk_has_lost_are_cut_again(server, undisturbed, tmp_path):
    server.faults.append(always("frame", Fault(500), FIRST_FRAME))
    fetch(server, tmp_path / "set")
    server.faults.clear()
    images = tmp_path / "set" / WORK / "images.f4"
    os.truncate(images, images.stat().st_size // 2)  # which the journal, whose lines are all there, does not know
    fetch(server, tmp_path / "set")
    assert_same(tmp_path / "set", undisturbed)


def test_reason_names_the_first_band_of_those_that_are_missing(server, tmp_path):
    server.faults.append(always("frame", Fault(404), FIRST_FRAME.replace("-r-", "-[gr]-")))
    fetch(server, tmp_path / "set")
    missing = Table.read(tmp_path / "set" / "missing.ecsv")
    assert len(missing) == OBJECTS and all("frame-g-" in reason for reason in missing["reason"])


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


@pytest.mark.parametrize("name", ["ra", "dec", "run", "rerun", "camcol", "field"])
def test_answer_without_a_value_that_every_object_has_is_not_believed(name):
    answer = f"#Table1\nobjID,{name}\n5,null\n6,1\n"
    with pytest.raises(AnswerError, match=f"answered 1 rows without {name}"):
        read_answer(answer, {"objID": int, name: float})


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


def test_fields_that_fail_now_and_then_do_not_stop_a_fetch(server, tmp_path, monkeypatch):
    monkeypatch.setattr("data_fetch.build.GIVE_UP", 2)
    fields = data_fetch.plan("pretext", archive=client(server), **REQUEST).catalogue["field"].tolist()
    every_other = "|".join(rf"-{field:04d}\.fits" for field in list(dict.fromkeys(fields))[::2])
    server.faults.append(always("frame", Fault(403), every_other))
    assert len(fetch(server, tmp_path / "set")) == N // 2
