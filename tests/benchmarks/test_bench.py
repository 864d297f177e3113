"""The benchmarks, on sizes so small that their numbers mean nothing: what is tested is that they measure and report."""

import importlib
import inspect
import json
import math
import sys

import numpy as np
import pytest

from ..paths import REPOSITORY

MODULES = sorted(path.stem for path in (REPOSITORY / "benchmarks").glob("*.py"))
# The other sections start many processes, which takes minutes even when tiny: `make bench` runs them.
TINY = {
    "training": {"images": {32: 64}, "archs": ("resnet10t",), "sizes": (32,), "stretches": ("bands",)},
    "embedding": {"n": 64, "archs": ("resnet10t",), "sizes": (32,), "few": 64, "many": 128},
    "maps": {"n_map": 100, "n_map_once": None, "n_neighbours": 500, "queries": 20},
}


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    import bench

    return bench


@pytest.fixture
def page(book_module):
    return book_module("performance")


@pytest.mark.parametrize("name", MODULES)
def test_a_program_is_imported_without_the_peers(bench, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)  # `make bench` installs it, and tests do without
    monkeypatch.delitem(sys.modules, name, raising=False)
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize("plan", ["FULL", "QUICK"])
def test_every_section_takes_the_arguments_that_the_plan_gives_it(bench, plan):
    sections = getattr(bench, plan)
    assert sorted(sections) == sorted(bench.FULL)
    for name, arguments in sections.items():
        extra = {"run": None} if name in bench.OF_A_RUN else {}
        signature = inspect.signature(importlib.import_module(name).measure)
        bound = signature.bind(repeat=5, **arguments, **extra)
        assert set(bound.arguments) == set(signature.parameters), name


def test_sides_take_turns_and_ratios_are_paired(bench):
    from timing import compare

    order, seconds = [], {"ours": iter([9.0, 1.0, 2.0, 4.0]), "peer": iter([9.0, 2.0, 4.0, 8.0])}

    def side(name):
        def measured():
            order.append(name)
            return next(seconds[name])

        return measured

    sides = {name: side(name) for name in seconds}
    [row] = compare("x", sides, repeat=3, amount=8, unit="images/s", at_least={"peer": 1.9}, at_most={"peer": 1.99})
    assert order[2:] in (
        ["ours", "peer", "peer", "ours", "ours", "peer"],
        ["peer", "ours", "ours", "peer", "peer", "ours"],
    )
    assert (row["median"], row["low"], row["high"], row["repeats"]) == (2.0, 2.0, 2.0, 3)  # the warm-up does not count
    assert row["sides"] == {"ours": 4.0, "peer": 2.0}
    assert bench.meets(row) is False
    assert bench.meets({**row, "at_most": None}) is True
    assert bench.meets({**row, "at_most": None, "at_least": None}) is None


def test_cutting_reports_its_ratios(bench, tmp_path):
    tiny = {"n": 20, "fields": 1, "bands": "r", "few": 100, "many": 200}
    rows = bench.run_sections({"cutting": tiny}, tmp_path / "bench.json", repeat=1)["sections"]["cutting"]["rows"]
    assert [row["peer"] for row in rows] == ["Cutout2D", "bz2 alone", "100 objects"]
    assert all(0 < row["median"] < math.inf and row["repeats"] == 1 for row in rows)


def test_networks_are_compared_by_what_they_learn_in_the_same_time(bench, page, tmp_path):
    from blobs import blobs

    run, rng = tmp_path / "runs" / "small", np.random.default_rng(0)
    for name, n in (("pretext", 96), ("sg", 40), ("sgq", 40)):
        shapes = {column: rng.uniform(0, 1, n) for column in ("expAB_r", "fracDeV_r")}
        radii = {"petroR50_r": rng.uniform(1, 2, n), "petroR90_r": rng.uniform(3, 4, n)}
        blobs(n, 16).with_columns(**shapes, **radii).save(run / "data" / name)
    plan = {"architectures": {"archs": ["resnet10t"], "seconds": 0.1, "n_labels": 2, "pretrainings": 1}}
    assert bench.run_sections(plan, tmp_path / "none.json", repeat=2)["sections"]["architectures"]["rows"] == []
    found = bench.run_sections(plan, tmp_path / "bench.json", repeat=2, run=str(run))
    rows = found["sections"]["architectures"]["rows"]
    assert len(rows) == 2 and all(0 < row["median"] <= 1 and row["repeats"] == 2 for row in rows)
    assert all(row["what"].startswith("resnet10t: star/galaxy") and row["epochs"][0] >= 1 for row in rows)
    assert page.performance_tables(tmp_path / "bench.json").count("2 labels per class, 0.1 s of pretraining") == 2


@pytest.mark.parametrize("section", TINY)
def test_a_section_reports_finite_ratios_and_the_page_shows_them(bench, page, section, tmp_path, capsys):
    out = tmp_path / "bench.json"
    bench.run_sections({section: TINY[section]}, out, repeat=1)
    found = json.loads(out.read_text())
    assert {"processor", "cores", "threads", "memory_gb", "gpu"} <= set(found["machine"])
    assert found["machine"]["threads"] >= 1 and found["machine"]["cores"] >= 1
    assert found["versions"]["torch"] and found["versions"]["fastai"] and found["versions"]["python"]
    rows = found["sections"][section]["rows"]
    assert rows
    for row in rows:
        numbers = [row["low"], row["median"], row["high"], *row.get("sides", {}).values()]
        assert all(math.isfinite(number) and number >= 0 for number in numbers), row
        assert row["low"] <= row["median"] <= row["high"] and row["repeats"] == 1
        if "peer" in row:
            ours, peer = row["sides"][row["ours"]], row["sides"][row["peer"]]
            assert row["median"] == pytest.approx(ours / peer)
    printed, text = capsys.readouterr().out, page.performance_tables(out)
    assert all(row["what"] in printed for row in rows)
    assert f"## {page.TITLES[section]}" in text and all(row["what"] in text for row in rows)
    assert f"{found['machine']['threads']} threads" in text


def test_a_finished_section_is_not_measured_again_unless_its_options_change(bench, tmp_path, monkeypatch):
    from types import SimpleNamespace

    from timing import value

    calls = []

    def measure(**options):
        calls.append(options)
        return [value("x", [1.0], "s")]

    monkeypatch.setitem(sys.modules, "fake", SimpleNamespace(measure=measure))
    out = tmp_path / "bench.json"
    bench.run_sections({"fake": {"n": 1}}, out)
    bench.run_sections({"fake": {"n": 1}}, out)
    bench.run_sections({"fake": {"n": 2}}, out)
    assert calls == [{"repeat": 5, "n": 1}, {"repeat": 5, "n": 2}]


def test_sections_of_other_code_are_neither_kept_nor_lost(bench, tmp_path, monkeypatch):
    from types import SimpleNamespace

    from timing import value

    monkeypatch.setitem(sys.modules, "fake", SimpleNamespace(measure=lambda **options: [value("x", [1.0], "s")]))
    monkeypatch.setitem(sys.modules, "other", sys.modules["fake"])
    out = tmp_path / "bench.json"
    bench.run_sections({"fake": {}, "other": {}}, out)
    before = out.read_text()
    monkeypatch.setattr(bench, "sources", lambda: "changed")
    with pytest.raises(SystemExit, match="has other of other versions"):
        bench.run_sections({"fake": {}}, out)
    assert out.read_text() == before
    bench.run_sections({"fake": {}, "other": {}}, out)
    assert json.loads(out.read_text())["versions"]["sources"] == "changed"


def test_time_of_a_run_goes_to_the_cells_that_work(bench, tmp_path):
    import nbformat
    from starting import course

    cells = {
        "import fastai": 3.0,
        "def curve(task):\n    return ssl.label_curve(task)": 0.0,
        "curve('sg')": 5.0,
        "learn.fit(3)": 1.0,
        "print('fit')": 0.5,
    }
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    notebook.metadata["papermill"] = {"duration": 10.0}
    for cell, seconds in zip(notebook.cells, cells.values(), strict=True):
        cell.metadata["papermill"] = {"duration": seconds}
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook, tmp_path / "notebooks" / "01.ipynb")
    [row] = course(tmp_path)
    assert row["median"] == pytest.approx(0.6)
    assert row["largest_other_cells"][0] == [3.0, "01", "import fastai"]
    assert row["outside_cells_seconds"] == pytest.approx(0.5)
