"""A fetch that was killed, ran out of disk, or met another process; and files that changed afterwards."""

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

import data_fetch
from astro_ssl_nb import CutoutSet
from astro_ssl_nb.files import whole_file
from astro_ssl_nb.set_files import write_card
from data_fetch.folder import WORK

from .faults import FIRST_FRAME, Fault, N, assert_same, fetch, once

REPOSITORY = Path(__file__).parents[2]
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


@pytest.mark.parametrize("who", ["os.getpid", "threading.get_ident"])
def test_two_writers_of_a_file_do_not_share_their_parts_and_those_of_the_dead_are_removed(tmp_path, monkeypatch, who):
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    path, host = tmp_path / "card [1].json", platform.node()
    others = [f"{path.name}.{name}.part" for name in (f"{host}.{os.getppid()}", "elsewhere.1", f"{host}.mine")]
    for name in (*(f"{path.name}.{host}.{dead.pid}{thread}.part" for thread in ("", ".7")), *others):
        (tmp_path / name).touch()
    with whole_file(path) as first:
        first.write(b"first")
        monkeypatch.setattr(who, lambda: 1)
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
        ("images.npy", lambda b: b[:-1] + b"\x01", "and fetch it again by the command that made it"),
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


@pytest.mark.parametrize(
    "name, damage, checked, words",
    [
        (
            "images.npy",
            lambda b: b[:-1] + b"\x01",
            1e9,
            "images.npy is not the file that was fetched .*: remove {out} and",
        ),
        ("catalogue.parquet", lambda b: b[:500], 1e9, "catalogue.parquet is not the file .*: remove {out} and"),
        ("images.npy", lambda b: b[:-100], 0, "cannot be read as a CutoutSet: .*: remove {out} and run"),
        ("card.json", lambda b: b.replace(b"checksums", b"sums"), 1e9, "names no checksums: .* remove {out} and"),
        ("card.json", lambda b: b"[]", 1e9, "card.json is damaged, .*: remove {out}"),
        ("card.json", lambda b: b'{"request": 3}', 1e9, "card.json is damaged, .*: remove {out}"),
    ],
)
def test_complete_set_that_changed_is_not_called_complete(
    name, damage, checked, words, server, undisturbed, tmp_path, monkeypatch
):
    monkeypatch.setattr("data_fetch.folder.CHECKED", checked)
    out = tmp_path / "set"
    shutil.copytree(undisturbed, out)
    assert len(fetch(server, out)) == N
    (out / name).write_bytes(damage((undisturbed / name).read_bytes()))
    with pytest.raises(data_fetch.FetchError, match=words.format(out=out)):
        fetch(server, out)
    assert server.log == []


def test_damaged_request_of_an_unfinished_set_is_named_with_the_way_out(server, tmp_path):
    server.faults.append(lambda kind, path, count: Fault(403) if FIRST_FRAME in path else None)
    fetch(server, tmp_path / "set")
    (tmp_path / "set" / WORK / "request.json").write_bytes(b"[]")
    with pytest.raises(data_fetch.FetchError, match="request.json is damaged, .*: remove"):
        fetch(server, tmp_path / "set")


def test_object_that_is_both_here_and_missing_is_found(undisturbed, tmp_path):
    part = CutoutSet.open(undisturbed)[:5]
    folder = part.save(tmp_path / "set")
    Table({"objid": part.catalogue["objid"][:1], "reason": ["gone"]}).write(folder / "missing.ecsv")
    write_card({**part.card, "missing": 1}, folder)
    assert "1 objects are in the catalogue and listed as missing" in data_fetch.verify(folder)


def test_set_without_a_request_can_be_verified(undisturbed, tmp_path):
    for file in ("images.npy", "catalogue.parquet", "card.json"):
        (tmp_path / file).write_bytes((undisturbed / file).read_bytes())
    card = json.loads((tmp_path / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps(card | {"request": None}))
    assert data_fetch.verify(tmp_path) == []
