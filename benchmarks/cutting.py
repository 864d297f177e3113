"""Cutting: cutouts of a frame against Cutout2D, a fetch against the unpacking of its frames, memory of a fetch.

No network takes part: the sky is on this computer, and what is timed finds all its frames in the folder of frames.
"""

import bz2
import math
import os
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import Cutout2D
from children import AnonymousMemory
from timing import clock, compare

import data_fetch
from data_fetch.practice import PracticeArchive, RecordedSky, SimulatedSky

SIZE, MARGIN = 32, 60
IN_A_FIELD = 250  # objects of `pretext` that every field of the practice sky has


def measure(*, repeat, n, fields, bands, few, many):
    """All rows of this section.

    Parameters
    ----------
    n : int
        Cutouts of one frame.
    fields, bands : int, str
        Fields of the practice sky from whose frames whole sets are cut; a frame takes two seconds to render.
    few, many : int
        Objects of the two sets, in r alone, whose memory is compared.
    """
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        with PracticeArchive(record(folder / "sky", bands, fields), workers=1) as server:
            rows = against_unpacking(server.url, folder / "path", bands, fields * IN_A_FIELD, repeat)
        with PracticeArchive(record(folder / "long", "r", math.ceil(many / IN_A_FIELD)), workers=1) as server:
            return against_cutout2d(folder / "long", n, repeat) + rows + memory(server.url, folder, few, many, repeat)


def record(folder, bands, fields):
    """Some fields of the simulated sky as files, so that frames need not be rendered at each request."""
    folder.mkdir()
    sky = SimulatedSky(n_runs=1, fields_per_camcol=math.ceil(fields / 6))
    chosen = sky.observations()[:fields]
    for at in chosen:
        for band in bands:
            name = f"frame-{band}-{at.run:06d}-{at.camcol}-{at.field:04d}.fits.bz2"
            (folder / name).write_bytes(sky.frame_bytes(at.run, at.camcol, at.field, band))
    photo = sky.tables()["PhotoObj"]
    return RecordedSky(folder, photo[np.isin(photo["fieldID"], [at.field_id for at in chosen])])


def against_cutout2d(folder, n, repeat):
    """The same objects, and the same pixels, one by one by astropy."""
    path = next(folder.glob("*.bz2"))
    band, run, camcol, field = path.name.split(".")[0].split("-")[1:]
    which = {"run": int(run), "camcol": int(camcol), "field": int(field), "band": band}
    frame = data_fetch.Frame.decode(path.read_bytes(), **which)
    (rows, columns), rng = frame.data.shape, np.random.default_rng(0)
    x, y = (rng.uniform(MARGIN, length - MARGIN, n) for length in (columns, rows))
    ra, dec = frame.wcs.wcs_pix2world(x, y, 0)

    def one_by_one():
        places = (SkyCoord(a * u.deg, d * u.deg) for a, d in zip(ra, dec, strict=True))
        return np.array([Cutout2D(frame.data, place, SIZE, wcs=frame.wcs).data for place in places], np.float32)

    np.testing.assert_array_equal(frame.cutouts(ra, dec, SIZE)[0], one_by_one())
    return compare(
        f"{n:,} cutouts of one frame, {SIZE} px",
        {"Frame.cutouts": lambda: frame.cutouts(ra, dec, SIZE), "Cutout2D": one_by_one},
        repeat=repeat,
        amount=n,
        unit="cutouts/s",
        at_least={"Cutout2D": 10.0},
    )


def fetch(url, out, bands, n, executor=None):
    options = {"n": n, "bands": bands, "size": SIZE, "executor": executor, "progress": False}
    return data_fetch.fetch("pretext", archive=url, out=out, frames=out.parent / "frames", **options)


def against_unpacking(url, folder, bands, n, repeat):
    fetch(url, folder / "first", bands, n)
    paths = sorted((folder / "frames").rglob("*.bz2"))

    def whole():
        seconds = clock(lambda: fetch(url, folder / "set", bands, n))
        shutil.rmtree(folder / "set")
        return seconds

    def unpack():
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(lambda path: len(bz2.decompress(path.read_bytes())), paths):
                pass

    return compare(
        f"fetch of {n:,} objects whose {len(paths)} frames are there",
        {"fetch": whole, "bz2 alone": unpack},
        repeat=repeat,
        amount=len(paths),
        unit="frames/s",
        at_least={"bz2 alone": 0.8},
    )


def memory(url, folder, few, many, repeat):
    fetch(url, folder / "first", "r", many)
    sides = {f"{n:,} objects": lambda n=n: fetch_elsewhere(url, folder / "set", n) for n in (many, few)}
    return compare(
        f"fetch: memory of its own, {many:,} objects over {few:,}",
        sides,
        repeat=repeat,
        unit="MB",
        at_most={f"{few:,} objects": 1.1},
        warm=False,
    )


def fetch_elsewhere(url, out, n):
    """The most memory of its own (MB) of a fetch in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        most = pool.submit(watched_fetch, url, out, n).result()
    shutil.rmtree(out)
    return most


def watched_fetch(url, out, n):
    # Two at a time, however many cores there are: else more frames of the larger set would be in memory.
    with AnonymousMemory() as watched, ThreadPoolExecutor(2) as executor:
        fetch(url, out, "r", n, executor)
    return watched.peak
