"""Speed of data_fetch as ratios: cutting, the path from packed frames to a CutoutSet, and growth with the objects.

    python benchmarks/cutting.py

Both sides of a ratio take turns in one run, so that it holds on a machine whose speed drifts. Nothing is fetched: the
frames are in the frame store already, and the catalogue comes from a server on this computer.
"""

import argparse
import bz2
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import Cutout2D
from astropy.table import Table

import data_fetch
from data_fetch.catalogues import PHOTOMETRY
from data_fetch.practice import PracticeArchive, RecordedSky, SimulatedSky

BANDS, SIZE, MARGIN = "ugriz", 32, 60
REAL = Path(__file__).parents[2] / "shared" / "sdss"


def find_frames(folder):
    """(run, camcol, field) of the fields that a folder has in all bands; without a folder, two are rendered."""
    if not any(folder.glob("frame-r-*.fits.bz2")):
        sky = SimulatedSky(n_runs=1, fields_per_camcol=1)
        for at in sky.observations()[:2]:
            for band in BANDS:
                name = f"frame-{band}-{at.run:06d}-{at.camcol}-{at.field:04d}.fits.bz2"
                (folder / name).write_bytes(sky.frame_bytes(at.run, at.camcol, at.field, band))
    names = [path.name.split(".")[0].split("-")[2:] for path in sorted(folder.glob("frame-r-*.fits.bz2"))]
    return [tuple(int(part) for part in name) for name in names]


def decode(folder, field, band):
    run, camcol, number = field
    path = folder / f"frame-{band}-{run:06d}-{camcol}-{number:04d}.fits.bz2"
    return data_fetch.Frame.decode(path.read_bytes(), run=run, camcol=camcol, field=number, band=band)


def catalogue(frames, per_field):
    """Objects at random places of the r frames, `per_field` in each."""
    rng, parts = np.random.default_rng(0), []
    for number, ((run, camcol, field), frame) in enumerate(frames.items()):
        x, y = rng.uniform(MARGIN, 2048 - MARGIN, per_field), rng.uniform(MARGIN, 1489 - MARGIN, per_field)
        ra, dec = frame.wcs.wcs_pix2world(x, y, 0)
        part = Table({name[2:]: np.full(per_field, 17.5) for name in PHOTOMETRY if name.startswith("p.")})
        part["objID"] = (np.int64(number + 1) << 32) + np.arange(per_field)
        values = {"fieldID": number, "run": run, "rerun": 301, "camcol": camcol, "field": field, "type": 3}
        for name, value in (values | {"mode": 1, "clean": 1}).items():
            part[name] = np.full(per_field, value)
        for name, value in {"ra": ra, "dec": dec, "colc_r": x, "rowc_r": y}.items():
            part[name] = value
        parts.append(part)
    return Table({name: np.concatenate([part[name] for part in parts]) for name in parts[0].colnames})


def compare_cutting(frame, repeat, n=300):
    """Seconds of `Frame.cutouts` and of a loop of Cutout2D, for the same objects; the pixels must be the same."""
    rng = np.random.default_rng(1)
    x, y = rng.uniform(MARGIN, 2048 - MARGIN, n), rng.uniform(MARGIN, 1489 - MARGIN, n)
    ra, dec = frame.wcs.wcs_pix2world(x, y, 0)

    def loop():
        cut = [
            Cutout2D(frame.data, SkyCoord(a * u.deg, d * u.deg), SIZE, wcs=frame.wcs).data
            for a, d in zip(ra, dec, strict=True)
        ]
        return np.array(cut, np.float32)

    def ours():
        return frame.cutouts(ra, dec, SIZE)[0]

    if not np.array_equal(loop(), ours()):
        raise SystemExit("Cutout2D and Frame.cutouts give other pixels")
    return n, take_turns([ours, loop], repeat)


def take_turns(sides, repeat):
    """Seconds of each side, `repeat` times."""
    return list(zip(*[[seconds(side) for side in sides] for _ in range(repeat)], strict=True))


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def fetch(url, out, frames, n):
    return data_fetch.fetch("pretext", archive=url, out=out, frames=frames, n=n, size=SIZE, progress=False)


def fill_store(url, store, folder, fields):
    """Put the frames where a fetch keeps them."""
    with data_fetch.open_archive(url) as archive:
        paths = [archive.frame_path(*field, band, store) for field in fields for band in BANDS]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / path.name, path)
    return paths


def compare_path(url, store, paths, n, scratch, repeat):
    def limit():
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(lambda path: len(bz2.decompress(path.read_bytes())), paths):
                pass

    def whole():
        fetch(url, scratch / "set", store, n)

    limit()
    fits = []
    for _ in range(repeat):
        fits.append((seconds(limit), seconds(whole)))
        shutil.rmtree(scratch / "set")
    return list(zip(*fits, strict=True))


def grow(url, store, n, scratch):
    """Seconds and the most anonymous memory (MB) of a fetch in a process of its own."""
    command = [sys.executable, __file__, "--one", url, str(store), str(scratch), str(n)]
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])
    shutil.rmtree(scratch)
    return result


def one_fetch(url, store, scratch, n):
    """Fetch, and print seconds and the most anonymous memory; in a process of its own."""
    process, most, done = psutil.Process(), [0], threading.Event()

    def watch():
        while not done.wait(0.02):
            memory = process.memory_info()  # shared pages are files, such as memory-mapped images
            most[0] = max(most[0], memory.rss - memory.shared)

    watcher = threading.Thread(target=watch)
    watcher.start()
    taken = seconds(lambda: fetch(url, scratch, store, n))
    done.set()
    watcher.join()
    print(json.dumps({"n": n, "seconds": taken, "anonymous_mb": most[0] / 1e6}))


def describe(values):
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def table(*rows):
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    print("\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines), end="\n\n", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=Path, default=REAL, help="folder of packed frames; without one, rendered")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions (%(default)s)")
    parser.add_argument("--objects", type=int, nargs="+", default=[1000, 5000, 10_000, 25_000, 50_000])
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        url, store, scratch, n = options.one
        return one_fetch(url, Path(store), Path(scratch), int(n))
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        source = options.frames if options.frames.is_dir() else folder
        fields = find_frames(source)
        frames = {field: decode(source, field, "r") for field in fields}
        n, (ours, loop) = compare_cutting(frames[fields[0]], options.repeat)
        ratios = [b / a for a, b in zip(ours, loop, strict=True)]
        table(
            ["cutouts of one opened frame", "seconds", "Cutout2D / ours"],
            ["Cutout2D and WCS, one by one", describe(loop), ""],
            ["Frame.cutouts, same pixels", describe(ours), describe(ratios)],
        )
        results = {"cutting": {"objects": n, "ours": ours, "cutout2d": loop, "ratios": ratios}}
        n = 100 * len(fields)
        with PracticeArchive(RecordedSky(source, catalogue(frames, 100)), workers=1) as server:
            paths = fill_store(server.url, folder / "store", source, fields)
            limit, whole = compare_path(server.url, folder / "store", paths, n, folder, options.repeat)
        ratios = [a / b for a, b in zip(limit, whole, strict=True)]
        table(
            [f"{len(paths)} packed frames, {n} objects, {os.cpu_count()} cores", "seconds", "bz2 / whole"],
            ["bz2 alone", describe(limit), ""],
            ["to a CutoutSet", describe(whole), describe(ratios)],
        )
        results["path"] = {"frames": len(paths), "objects": n, "bz2": limit, "whole": whole, "ratios": ratios}
        results["growth"] = measure_growth(source, fields, frames, folder, options.objects)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


def measure_growth(source, fields, frames, folder, objects):
    """A field has the same number of objects however many there are in all, so that the number of fields grows."""
    rows = []
    per_field = 1000
    for n in objects:
        many = copies(frames, n // per_field)
        with PracticeArchive(RecordedSky(source, catalogue(many, per_field)), workers=1) as server:
            store = folder / f"store-{n}"
            link_copies(server.url, store, source, fields, many)
            rows.append(grow(server.url, store, n, folder / "grown"))
            shutil.rmtree(store)
    table(
        ["objects", "seconds", "seconds a thousand", "anonymous memory (MB)"],
        *([r["n"], f"{r['seconds']:.2f}", f"{1000 * r['seconds'] / r['n']:.3f}", f"{r['anonymous_mb']:.0f}"] for r in rows),
    )
    return rows


if __name__ == "__main__":
    main()
