"""Speed of data_fetch as ratios: cutting, the path from packed frames to a CutoutSet, and growth with the objects.

    python benchmarks/cutting.py

Both sides of a ratio take turns in one run, so that it holds on a machine whose speed drifts. Nothing is fetched: the
frames are in the frame store already, and the catalogue comes from a server on this computer.
"""

import argparse
import bz2
import io
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
from astropy.io import fits
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


def fetch(url, out, frames, n, bands=BANDS):
    settings = {"n": n, "bands": bands, "size": SIZE, "progress": False}
    return data_fetch.fetch("pretext", archive=url, out=out, frames=frames, **settings)


def fill_store(url, store, folder, fields, bands=BANDS):
    """Put the frames where a fetch keeps them."""
    with data_fetch.open_archive(url) as archive:
        paths = [archive.frame_path(*field, band, store) for field in fields for band in bands]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / path.name, path)
    return paths


def more_fields(source, folder, times):
    """Copies of the fields of a folder under other field numbers, so that fixed costs are a fair share of the time."""
    folder.mkdir()
    for path in sorted(source.glob("frame-[ugriz]-*.fits.bz2")):
        _, band, run, camcol, field = path.name.split(".")[0].split("-")
        for copy in range(times):
            with fits.open(io.BytesIO(bz2.decompress(path.read_bytes())), memmap=False) as hdus:
                hdus[0].header["FRAME"] += 2000 * copy
                packed = io.BytesIO()
                hdus.writeto(packed, output_verify="ignore")
            name = f"frame-{band}-{run}-{camcol}-{int(field) + 2000 * copy:04d}.fits.bz2"
            (folder / name).write_bytes(bz2.compress(packed.getvalue()))
    return folder


def compare_path(url, store, paths, n, scratch, repeat):
    def limit():
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(lambda path: len(bz2.decompress(path.read_bytes())), paths):
                pass

    def whole():
        fetch(url, scratch / "set", store, n)

    whole()  # whatever is imported or compiled the first time
    turns = []
    for _ in range(repeat):
        shutil.rmtree(scratch / "set")
        turns.append((seconds(limit), seconds(whole)))
    return list(zip(*turns, strict=True))


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
    taken = seconds(lambda: fetch(url, scratch, store, n, "r"))
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
    parser.add_argument("--copies", type=int, default=4, help="of each field, for the whole path (%(default)s)")
    parser.add_argument("--objects", type=int, nargs="+", default=[1000, 5000, 10_000, 25_000, 50_000])
    parser.add_argument("--grow", type=int, default=1, help="repetitions for each number of objects (%(default)s)")
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
        source = more_fields(source, folder / "more", options.copies)
        fields = find_frames(source)
        frames = {field: decode(source, field, "r") for field in fields}
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
        results["growth"] = measure_growth(folder, options.objects, options.grow)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


def empty_frame(number):
    """A packed r frame of field `number`, zero everywhere: cheap to unpack, so that our own part of the time shows."""
    scale = 0.396 / 3600
    cards = {"RUN": 94, "CAMCOL": 1, "FILTER": "r", "FRAME": number, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}
    cards |= {"CUNIT1": "deg", "CUNIT2": "deg", "CRPIX1": 1025.0, "CRPIX2": 745.0, "CRVAL1": number / 3, "CRVAL2": 0.0}
    cards |= {"CD1_1": scale, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": scale}
    hdus = fits.HDUList([fits.PrimaryHDU(np.zeros((1489, 2048), "f4")), *(fits.ImageHDU() for _ in range(3))])
    hdus[0].header.update(cards)
    packed = io.BytesIO()
    hdus.writeto(packed)
    return bz2.compress(packed.getvalue(), 1)


def measure_growth(folder, objects, repeat, per_field=200):
    """Seconds and anonymous memory against the number of objects; the fields grow with them."""
    fields = [(94, 1, number + 1) for number in range(-(-max(objects) // per_field))]
    source, runs = folder / "empty", []
    source.mkdir()
    for run, camcol, number in fields:
        name = f"frame-r-{run:06d}-{camcol}-{number:04d}.fits.bz2"
        (source / name).write_bytes(empty_frame(number))
    frames = {field: decode(source, field, "r") for field in fields[:1]}
    photo = catalogue({field: shifted(frames[fields[0]], field) for field in fields}, per_field)
    with PracticeArchive(RecordedSky(source, photo), workers=1) as server:
        fill_store(server.url, folder / "store-r", source, fields, "r")
        for _ in range(repeat):
            runs.append([grow(server.url, folder / "store-r", n, folder / "grown") for n in objects])
    rows = []
    for sizes in zip(*runs, strict=True):
        took, memory = [r["seconds"] for r in sizes], [r["anonymous_mb"] for r in sizes]
        rows.append([f"{sizes[0]['n']:,}", describe(took), describe([1000 * t / sizes[0]["n"] for t in took])])
        rows[-1].append(describe(memory))
    table(["objects", "seconds", "seconds a thousand", "anonymous memory (MB)"], *rows)
    return runs


def shifted(frame, field):
    """The same frame at the place of another field."""
    wcs = frame.wcs.deepcopy()
    wcs.wcs.crval = field[2] / 3, 0
    return data_fetch.Frame(frame.data, wcs)


if __name__ == "__main__":
    main()
