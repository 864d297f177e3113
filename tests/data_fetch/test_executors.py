"""Whoever cuts the frames (threads, processes, a dask cluster), the CutoutSet is the same."""

import pickle
import re
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing import get_context
from pathlib import Path

import pytest

import data_fetch
from data_fetch.transport import RequestError

from .faults import FIELDS, OBJECTS, Fault, FaultyArchive


def threads():
    return ThreadPoolExecutor(2)


def processes():
    return ProcessPoolExecutor(2, mp_context=get_context("spawn"))


@contextmanager
def dask():
    distributed = pytest.importorskip("distributed")
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with distributed.LocalCluster(**settings) as cluster, distributed.Client(cluster) as client:
        yield client.get_executor()


@pytest.fixture(scope="module")
def server():
    with closing(FaultyArchive()) as server:
        yield server


def fetch(server, out, executor=None):
    archive = data_fetch.Archive("small", server.url, f"{server.url}/sas", timeout=30)
    settings = {"n": FIELDS * OBJECTS, "bands": "gr", "size": 16, "progress": False}
    return data_fetch.fetch("pretext", archive=archive, out=out, executor=executor, **settings)


@pytest.fixture(scope="module")
def alone(server, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "set"
    fetch(server, out)
    return out


@pytest.mark.parametrize("make", [threads, processes, dask])
def test_every_executor_gives_the_same_bytes_and_stays_open(make, server, alone, tmp_path):
    before = len(server.asked("frame"))
    with make() as executor:
        fetch(server, tmp_path / "set", executor)
        assert executor.submit(sum, [1, 2]).result() == 3
    assert len(server.asked("frame")) == before + 2 * FIELDS  # each frame once, whoever asked
    for name in ("images.npy", "catalogue.parquet"):
        assert (tmp_path / "set" / name).read_bytes() == (alone / name).read_bytes(), name
    assert data_fetch.verify(tmp_path / "set") == []


def test_frame_that_a_worker_process_cannot_have_is_listed(server, tmp_path):
    def missing(kind, path, count):
        return Fault(404) if "frame-r-009201-1-0003" in path else None

    server.faults.append(missing)
    try:
        with processes() as executor:
            cutouts = fetch(server, tmp_path / "set", executor)
    finally:
        server.faults.remove(missing)
    assert len(cutouts) == (FIELDS - 1) * OBJECTS and cutouts.card["missing"] == OBJECTS


def test_archive_travels_as_its_settings_and_is_one_a_process(server):
    archive = data_fetch.Archive("small", server.url, f"{server.url}/sas", timeout=30)
    first, second = (pickle.loads(pickle.dumps(archive)) for _ in range(2))
    assert first == archive and first is second and first is not archive


@pytest.mark.parametrize(
    "error", [data_fetch.FrameError("no", again=True), RequestError("no", 503), data_fetch.ArchiveError("no")]
)
def test_errors_cross_processes(error):
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error) and back.args == error.args and vars(back) == vars(error)


def test_dask_example_of_the_book_runs(server, tmp_path):
    pytest.importorskip("distributed")
    page = (Path(__file__).parents[2] / "jupyter-book" / "cluster.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    n, out = FIELDS * OBJECTS, tmp_path / "dask" / "set"
    for there, here in (('"practice"', repr(server.url)), ("n=2000", f"n={n}"), ('"data/pretext"', repr(str(out)))):
        assert code.count(there) == 1
        code = code.replace(there, here)
    exec(code, {"__name__": "__main__"})
    alone = data_fetch.fetch("pretext", archive=server.url, n=n, out=tmp_path / "alone" / "set", progress=False)
    assert (out / "images.npy").read_bytes() == (tmp_path / "alone" / "set" / "images.npy").read_bytes()
    assert len(alone) == n
