"""From a command to a CutoutSet, by way of the practice archive."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table
from astropy.wcs import WCS
from filelock import FileLock

import data_fetch
from astro_ssl_nb.cutouts import CutoutSet
from data_fetch.catalogues import PHOTOMETRY, SPECTRUM
from data_fetch.folder import WORK

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("name, classes", [("pretext", ()), ("sg", ("STAR", "GALAXY"))])
def test_command_fetches_a_data_set(name, classes, practice, tmp_path, command):
    done = command(name, "--archive", practice.url, "--n", 40, "--bands", "gr", "--out", tmp_path / name)
    assert done.returncode == 0, done.err
    cutouts = CutoutSet.open(tmp_path / name)
    assert "field" in done.err and repr(cutouts) in done.out
    assert len(cutouts) + cutouts.card["missing"] == 40
    assert [int(np.sum(cutouts.catalogue["class"] == label)) for label in classes] == [20] * len(classes)


def test_practice_archive_is_started_by_its_name(tmp_path, command):
    done = command("sgq", "--archive", "practice", "--n", 6, "--out", tmp_path / "set", "--plan")
    assert done.returncode == 0, done.err
    assert done.out.startswith("sgq from practice (seed 0") and "2 GALAXY, 2 QSO, 2 STAR" in done.out


def test_set_holds_what_its_catalogue_says(sgq):
    out, cutouts = sgq
    catalogue = cutouts.catalogue
    assert cutouts.images.shape == (30, 5, 32, 32) and cutouts.images.dtype == np.float32
    assert np.isfinite(cutouts.images).all()
    assert set(catalogue.colnames) == {names[0] for names in (PHOTOMETRY | SPECTRUM).values()}
    assert sorted(catalogue["class"]) == ["GALAXY"] * 10 + ["QSO"] * 10 + ["STAR"] * 10
    assert catalogue["objid"].dtype == np.uint64 and len(set(catalogue["objid"])) == 30
    assert catalogue["modelMag_r"].unit == u.mag and catalogue["petroR50_r"].unit == u.arcsec
    assert catalogue["modelMag_r"].min() >= 14 and catalogue["modelMag_r"].max() <= 21.5
    for name in catalogue.colnames:
        values = np.ma.compressed(np.ma.asarray(catalogue[name]))
        assert not np.isin(values, ["-9999", "-9999.0"] if values.dtype.kind == "U" else [-9999, -1000]).any(), name
    assert not (out / WORK).exists() and not (out / "missing.ecsv").exists()


def test_flux_in_the_cutouts_is_the_catalogue_magnitude(sgq):
    _, cutouts = sgq
    point = np.asarray(cutouts.catalogue["type"]) == 6
    for band in (1, 2, 3):
        name = f"psfMag_{'ugriz'[band]}"
        mag = np.asarray(cutouts.catalogue[name])[point]
        y, x = np.mgrid[:32, :32] - 15.5
        flux = cutouts.images[point, band][:, np.hypot(x, y) < 8].sum(axis=1)
        bright = (mag < 20) & (flux > 0)
        assert bright.sum() >= 3
        assert abs(np.median(22.5 - 2.5 * np.log10(flux[bright]) - mag[bright])) < 0.15


def test_card_says_where_the_set_comes_from(sgq, archive):
    out, cutouts = sgq
    card = json.loads((out / "card.json").read_text())
    assert card["archive"] == archive.name and card["release"] == 17 and card["bands"] == list("ugriz")
    assert any("s.class = 'QSO'" in sql for sql in card["sql"]) and card["request"]["n"] == 30
    for name, checksum in card["checksums"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == checksum


@pytest.mark.parametrize("n_classes, last", [(15, ", 1 T14\n"), (40, ", 25 of 25 other classes\n")])
def test_plan_names_fifteen_classes(n_classes, last):
    where = dict.fromkeys(("run", "rerun", "camcol", "field"), np.ones(n_classes + 1, int))
    table = Table({**where, "class": [f"T{i:02}" for i in range(n_classes)] + ["T03"]})
    table.meta = {"sql": [], "excluded": None, "unmatched": Table()}
    text = str(data_fetch.Plan("mine", table, ("r",), 0, 32))
    assert ": 1 T00, 1 T01, 1 T02, 2 T03, 1 T04" in text and last in text and text.count(" T") == 15


def test_plan_counts_objects_without_a_class_as_the_card_does():
    where = dict.fromkeys(("run", "rerun", "camcol", "field"), np.ones(3, int))
    for unknown in (MaskedColumn(["a", "x", "a"], mask=[False, True, False]), [1.0, np.nan, 1.0]):
        table = Table({**where, "class": unknown})
        table.meta = {"sql": [], "excluded": None, "unmatched": Table()}
        assert "objects   3: 1 (not known), 2 " in str(data_fetch.Plan("mine", table, ("r",), 0, 32))


def test_plan_of_one_frame_takes_a_minute():
    table = Table(dict.fromkeys(("run", "rerun", "camcol", "field"), [1]))
    table.meta = {"sql": [], "excluded": None, "unmatched": Table()}
    assert "requests  1 for frames, about 3 MB and 1 min at 60" in str(data_fetch.Plan("mine", table, ("r",), 0, 32))


def test_integers_of_numpy_are_integers(archive, sgq):
    numbers = {"n": np.int64(30), "size": np.int64(32), "seed": np.int64(0)}
    planned = data_fetch.plan("sgq", archive=archive, out=sgq[0], **numbers)  # the request of the card
    assert planned.objects == 30


def test_plan_says_how_much_disk_the_set_takes(archive, sgq):
    planned = data_fetch.plan("sgq", archive=archive, n=30)
    assert planned.disk == sgq[1].images.nbytes
    assert "disk      31 MB for the set, as much again while it is made" in str(
        data_fetch.plan("sgq", archive=archive, n=30, size=227)
    )


def test_all_files_are_on_disk_before_the_work_is_cleared_away(archive, frames_folder, tmp_path, monkeypatch):
    """As a power cut would find it: what was not flushed by then may be lost, with the only other copy."""
    flushed, at_the_end, flush, clear = set(), [], os.fsync, shutil.rmtree
    monkeypatch.setattr("os.fsync", lambda number: (flushed.add(os.fstat(number).st_ino), flush(number)))
    monkeypatch.setattr(
        "shutil.rmtree", lambda *args, **options: (at_the_end.append(set(flushed)), clear(*args, **options))
    )
    out = tmp_path / "set"
    data_fetch.fetch("pretext", archive=archive, n=20, bands="r", size=16, out=out, frames=frames_folder)
    for name in ("images.npy", "catalogue.parquet", "card.json"):
        assert (out / name).stat().st_ino in at_the_end[-1], name


def test_plan_asks_for_no_frame_and_its_answers_serve_the_fetch(mirror, tmp_path, command):
    arguments = ("pretext", "--archive", mirror.url, "--n", 20, "--bands", "r", "--out", tmp_path / "set")
    planned = command(*arguments, "--plan")
    assert planned.returncode == 0, planned.err
    assert "objects   20" in planned.out and "about 3 MB" in planned.out
    assert "disk      0 MB for the set" in planned.out
    assert mirror.frames == [] and mirror.queries
    assert not (tmp_path / "set" / "card.json").exists()
    asked = len(mirror.queries)
    assert command(*arguments).returncode == 0
    assert len(mirror.queries) == asked and len(mirror.frames) == 1


def test_frames_are_fetched_once_for_all_sets(mirror, tmp_path):
    with data_fetch.open_archive(mirror.url) as archive:
        for name, n in (("pretext", 30), ("sg", 10), ("pretext", 20)):
            data_fetch.fetch(name, archive=archive, n=n, bands="r", out=tmp_path / f"{name}{n}", progress=False)
    assert len(mirror.frames) == len(set(mirror.frames))


def test_complete_folder_is_opened_and_nothing_is_fetched(mirror, frames_folder, tmp_path, command, capsys):
    request = {"n": 20, "bands": "r", "out": tmp_path / "set", "frames": frames_folder}
    data_fetch.fetch("pretext", archive=mirror.url, **request, progress=False)
    asked = len(mirror.queries) + len(mirror.frames)
    again = data_fetch.fetch("pretext", archive=mirror.url, **request)
    assert "is complete" in capsys.readouterr().out and len(again) == 20
    assert len(mirror.queries) + len(mirror.frames) == asked
    with pytest.raises(data_fetch.FetchError, match=r"seed is 0 there, 1 here"):
        data_fetch.fetch("pretext", archive=mirror.url, seed=1, **request)


def test_work_that_a_kill_left_beside_a_complete_set_is_removed(archive, frames_folder, tmp_path):
    request = {"n": 20, "bands": "r", "size": 16, "frames": frames_folder, "progress": False}
    data_fetch.fetch("pretext", archive=archive, out=tmp_path / "set", **request)
    left = tmp_path / "set" / WORK
    left.mkdir()
    (left / "images.f4").write_bytes(b"as large as the set")
    with FileLock(left / "lock"):
        assert len(data_fetch.fetch("pretext", archive=archive, out=tmp_path / "set", **request)) == 20
        assert (left / "images.f4").exists()  # of a process that is alive
    data_fetch.fetch("pretext", archive=archive, out=tmp_path / "set", **request)
    assert not left.exists()


def test_lost_file_of_a_complete_set_is_made_again(mirror, frames_folder, tmp_path):
    request = {"n": 20, "bands": "r", "out": tmp_path / "set", "frames": frames_folder, "progress": False}
    before = np.array(data_fetch.fetch("pretext", archive=mirror.url, **request).images)
    asked = len(mirror.frames)
    (tmp_path / "set" / "images.npy").unlink()
    with pytest.raises(FileNotFoundError, match="Run the same"):
        CutoutSet.open(tmp_path / "set")
    np.testing.assert_array_equal(data_fetch.fetch("pretext", archive=mirror.url, **request).images, before)
    assert len(mirror.frames) == asked and data_fetch.verify(tmp_path / "set") == []


def test_part_of_a_set_is_not_taken_for_the_whole(sgq, archive, tmp_path):
    out, cutouts = sgq
    part = cutouts[:10].save(tmp_path / "part")
    assert CutoutSet.open(part).card["sql"] == cutouts.card["sql"]
    with pytest.raises(data_fetch.FetchError, match="was not fetched into it"):
        data_fetch.fetch("sgq", archive=archive, n=30, out=part)
    assert "is a part" in data_fetch.write_dataset_card(part).read_text()
    assert ["names no checksums" in problem for problem in data_fetch.verify(part)] == [True]


def test_set_that_cannot_be_written_to_is_opened_without_a_card(archive, practice, tmp_path, command, small_disk):
    arguments = ("pretext", "--archive", practice.url, "--n", 10, "--bands", "r", "--out", tmp_path / "set")
    assert command(*arguments).returncode == 0
    (tmp_path / "set" / "README.md").unlink()
    with small_disk(0):
        done = command(*arguments)
    assert done.returncode == 0 and "warning: no card was written: cannot write to" in done.out, done.err
    assert "10 cutouts" in done.out


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_killed_run_goes_on_and_gives_the_same_bytes(practice, mirror, tmp_path):
    request = {"n": 600, "bands": "gr"}
    killed, undisturbed = tmp_path / "killed" / "set", tmp_path / "undisturbed" / "set"
    arguments = ["pretext", "--n", "600", "--bands", "gr", "--archive", mirror.url, "--out", str(killed)]
    command = [sys.executable, "-m", "data_fetch", *arguments]

    # Stop it when one field is done and one frame of the next is stored.
    fields = data_fetch.plan("pretext", archive=practice.url, **request).catalogue["field"]
    mirror.hold = f"frame-r-.*-{fields[-1]:04d}.fits"
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert mirror.reached.wait(60)
    journal = killed / WORK / "journal.jsonl"
    wait_for(lambda: journal.exists() and journal.read_bytes().count(b"\n"))
    wait_for(lambda: len(list((tmp_path / "killed" / "frames").rglob("*.bz2"))) == 3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    stored = {path.name for path in (tmp_path / "killed" / "frames").rglob("*.bz2")}
    queries, frames = len(mirror.queries), len(mirror.frames)
    assert not (killed / "card.json").exists()

    mirror.hold = None
    mirror.released.set()
    assert subprocess.run(command, cwd=REPOSITORY, capture_output=True).returncode == 0
    assert mirror.queries[queries:] == []
    assert len(mirror.frames[frames:]) == 1 and not stored & set(mirror.frames[frames:])

    with data_fetch.open_archive(practice.url) as archive:
        data_fetch.fetch("pretext", archive=archive, out=undisturbed, **request, progress=False)
    for name in ("images.npy", "catalogue.parquet"):
        assert (killed / name).read_bytes() == (undisturbed / name).read_bytes(), name


def test_archive_that_fails_half_way_costs_nothing_that_was_fetched(mirror, tmp_path, command):
    arguments = ("pretext", "--archive", mirror.url, "--n", 20, "--bands", "gr", "--out", tmp_path / "set")
    mirror.faults["frame-r"] = (500, "text/html", b"<html>out of order</html>")
    done = command(*arguments)
    assert done.returncode == 2 and "HTTP 500: run the same command again later" in done.err
    mirror.faults.clear()
    assert command(*arguments).returncode == 0
    assert sorted(name.split("-")[1] for name in mirror.frames) == ["g", "r", "r"]


def test_half_written_ends_of_a_killed_run_are_done_again(archive, frames_folder, tmp_path):
    request = {"n": 20, "bands": "r", "size": 16, "frames": frames_folder, "progress": False}
    whole = data_fetch.fetch("pretext", archive=archive, out=tmp_path / "whole", **request)
    out = tmp_path / "torn"
    data_fetch.plan("pretext", archive=archive, out=out, n=20, bands="r", size=16)
    (out / WORK / "images.f4").write_bytes(b"half of a field")
    (out / WORK / "journal.jsonl").write_bytes(b'{"missing": {')
    torn = data_fetch.fetch("pretext", archive=archive, out=out, **request)
    assert np.array_equal(torn.images, whole.images)


def test_field_that_is_not_in_the_archive_is_listed_as_missing(mirror, tmp_path, command):
    plan = data_fetch.plan("pretext", archive=mirror.url, n=500)
    objects = plan.catalogue
    gone = objects["field"] == objects["field"][0]
    mirror.faults[f"frame-r-.*-{objects['field'][0]:04d}.fits"] = (404, "text/html", b"<html>not found</html>")
    done = command("pretext", "--archive", mirror.url, "--n", 500, "--bands", "r", "--out", tmp_path / "set")
    assert done.returncode == 0, done.err
    assert f"warning: {gone.sum()} of 500 objects have no cutout" in done.out
    missing = Table.read(tmp_path / "set" / "missing.ecsv")
    assert list(missing["objid"]) == list(objects["objid"][gone]) and "HTTP 404" in missing["reason"][0]
    cutouts = CutoutSet.open(tmp_path / "set")
    assert list(cutouts.catalogue["objid"]) == list(objects["objid"][~gone])
    assert cutouts.card["missing"] == gone.sum() and len(cutouts.images) == len(cutouts)


def test_cutouts_reach_the_edges_of_a_frame_and_not_beyond():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crpix, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [1025, 745], [10, 0]
    wcs.wcs.cd = np.eye(2) * 1.1e-4
    frame, half = data_fetch.Frame(np.ones((1489, 2048), np.float32), wcs), 15.5
    first, last = (half, half), (2047 - half, 1488 - half)
    beyond = [(half - 1, 700), (2047 - half + 1, 700), (700, half - 1), (700, 1488 - half + 1)]
    ra, dec = wcs.wcs_pix2world(*np.transpose([first, last, *beyond]), 0)
    images, problems = frame.cutouts(ra, dec, 32)
    assert np.isfinite(images[:2]).all()
    assert problems == dict.fromkeys((2, 3, 4, 5), "the cutout leaves the frame")


def test_broken_frame_is_never_kept(mirror, tmp_path):
    where = {"run": 1, "camcol": 1, "field": 1, "band": "r"}
    mirror.faults["fits.bz2"] = (200, "text/html", b"<html>busy</html>")
    with data_fetch.open_archive(mirror.url) as archive, pytest.raises(data_fetch.FrameError, match="not a whole bz2"):
        archive.read_frame(**where, folder=tmp_path)
    assert [path for path in Path(tmp_path).rglob("*") if path.is_file()] == []
