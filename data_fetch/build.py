"""From a request to a CutoutSet: fetch it, and go on where a killed run stopped."""

import platform
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from os import cpu_count
from pathlib import Path

import astropy
import astroquery
import numpy as np
from astropy.table import vstack
from tqdm import tqdm

import astro_ssl_nb
from data_fetch.addresses import open_archive
from data_fetch.archive import Archive
from data_fetch.catalogues import DATA_SETS
from data_fetch.folder import FetchError, WorkFolder
from data_fetch.frames import BANDS, PIXEL_SCALE, FrameError
from data_fetch.plans import Request, fields_of, make_plan
from data_fetch.transport import CONNECTIONS, ArchiveError

AHEAD = 16  # fields that are sent to the workers before the first of them is written
AHEAD_BYTES = 1e9  # and so much of cutouts, which may be many and large in one field
GIVE_UP = 5  # fields in a row that fail for a reason that may pass: then it is not the frames but the archive


def plan(
    name,
    *,
    out=None,
    archive="practice",
    n=None,
    bands=BANDS,
    size=32,
    mag_limits=None,
    seed=0,
    exclude=(),
    frames=None,
    source=None,
):
    """Choose the objects and say what fetching them costs; no frame is requested.

    Takes the parameters of `fetch`, but for `executor` and `progress`. Given `out`, the answers of the archive are kept
    there for the fetch.

    Returns
    -------
    Plan

    Examples
    --------
    >>> from data_fetch.practice import PracticeArchive, SimulatedSky
    >>> with PracticeArchive(SimulatedSky(n_runs=1, fields_per_camcol=2)) as sky:
    ...     chosen = plan("sg", archive=sky.url, n=4)
    >>> chosen.catalogue["class"].tolist(), str(chosen).splitlines()[3].strip()
    (['GALAXY', 'GALAXY', 'STAR', 'STAR'], 'frames    5, of which 0 are here already')
    """
    request = Request(name, n, bands, size, mag_limits, seed, exclude, source)
    with _opened(archive) as archive:
        work = None if out is None else WorkFolder(out, request.identity(archive))
        with nullcontext() if work is None or work.complete else work.locked():
            return make_plan(request, archive, work, _frames_folder(out, frames))


def fetch(
    name,
    *,
    out,
    archive="practice",
    n=None,
    bands=BANDS,
    size=32,
    mag_limits=None,
    seed=0,
    exclude=(),
    frames=None,
    source=None,
    executor=None,
    progress=True,
):
    """Fetch a data set into a folder, or go on with it; a complete one is opened and nothing is fetched.

    Parameters
    ----------
    name : {"pretext", "galaxies", "sg", "sgq", "mg", "ef2", "ef4", "ef15", "efigi", "positions"}
        See `data_fetch.DATA_SETS`.
    out : path-like
        The folder of the CutoutSet.
    archive : str or Archive, default="practice"
        An opened archive, or a name or URL for `open_archive`.
    n : int, optional
        Objects in all; by default the size in the paper, or all that EFIGI or a list of positions has. Classes that are
        drawn field by field get as many each.
    bands : str or sequence of str, default="ugriz"
    size : int, default=32
        Pixels (0.396 arcsec) a side of the cutouts.
    mag_limits : (float, float), optional
        Model magnitude in r; by default 14 to 21.5 for `pretext`, `sg` and `sgq`, 14 to 18.8 for `galaxies`, and
        whatever it is for the others.
    seed : int, default=0
        Another seed takes other fields.
    exclude : sequence of path-like, optional
        Folders of CutoutSets: neither their objects nor anything whose cutout may overlap with one of theirs is chosen.
    frames : path-like, optional
        Where frames are kept, for all data sets; by default the folder `frames` beside `out`.
    source : path-like, optional
        The file of the list, for `positions` alone: see `data_fetch.read_positions`.
    executor : concurrent.futures.Executor, optional
        What fetches and cuts frames in parallel; by default threads. Processes and the workers of a cluster need to see
        `frames` at the same place, and each keeps to its own limit of 4 connections: use them beside a mirror.
    progress : bool, default=True
        Print the plan and show a progress bar.

    Returns
    -------
    CutoutSet
        Objects whose cutout cannot be had are not in it but in `missing.ecsv`, with the reason. Where that may pass
        (`retry` is True there), the same call tries again.

    Raises
    ------
    FetchError
        If the request cannot be met, another process is filling the folder, the disk is full, or files of a complete
        set have changed.
    ArchiveError
        If the archive fails. What was fetched is kept: the same call goes on from there.

    Examples
    --------
    Labelled objects, and others to pretrain on, from the simulated sky::

        stars_galaxies = data_fetch.fetch("sg", n=600, out="data/sg")
        pretext = data_fetch.fetch("pretext", n=2000, out="data/pretext", exclude=["data/sg"])
    """
    request = Request(name, n, bands, size, mag_limits, seed, exclude, source)
    say = print if progress else _silent
    with _opened(archive) as archive:
        work = WorkFolder(out, request.identity(archive))
        if not work.complete:
            with work.locked():
                if not work.complete:  # another process may have done it meanwhile
                    return _fill(request, archive, work, _frames_folder(out, frames), executor, progress)
        cutouts = work.open()
        work.clear_leftovers()
        if not (work.out / "README.md").exists():  # killed after the last byte of the data
            _describe(work.out)
        say(f"{out} is complete, and is what was asked for: nothing to fetch")
        return cutouts


def _fill(request, archive, work, frames, executor, progress):
    say = print if progress else _silent
    the_plan = make_plan(request, archive, work, frames, progress)
    done = work.begin((len(request.bands), request.size, request.size), the_plan.catalogue)
    say(the_plan)
    # Threads will do: bz2 unpacks outside the interpreter's lock.
    with ThreadPoolExecutor(max(CONNECTIONS, cpu_count() or 1)) if executor is None else nullcontext(executor) as pool:
        problems, again = _cut_fields(the_plan, archive, frames, request.size, work, done, pool, progress)
    catalogue = the_plan.catalogue
    keep = np.ones(len(catalogue), bool)
    keep[list(problems)] = False
    missing = _missing(catalogue, np.flatnonzero(~keep), problems, again)
    advice = f"the same command tries {len(again)} of them again"
    if not keep.any():
        advice = advice if again else f"remove {work.out} to try again"
        raise FetchError(f"none of the {len(keep)} cutouts can be had, the first because {problems[0]}; {advice}")
    if not keep.all():
        say(
            f"warning: {(~keep).sum()} of {len(keep)} objects have no cutout: see {work.out / 'missing.ecsv'}"
            + (f"; {advice}" if again else "")
        )
    cutouts = work.finish(catalogue[keep], missing, _card(request, archive, catalogue.meta, len(missing)))
    _describe(work.out)
    return cutouts


def _cut_fields(the_plan, archive, frames, size, work, done, pool, progress):
    """Cut all fields that are not done, several frames at a time.

    Returns
    -------
    problems : dict of int to str
        Rows of the catalogue that have no cutout, and why.
    again : set of int
        Those of them that the archive may have another time.
    """
    fields = list(enumerate(fields_of(the_plan.catalogue)))
    problems = {int(row): reason for line in done.values() for row, reason in line["missing"].items()}
    again, failures = set(), 0
    bar = tqdm(total=len(fields), initial=len(done), unit="field", disable=not progress)
    table = the_plan.catalogue
    ra, dec = np.asarray(table["ra"]), np.asarray(table["dec"])

    # What waits for the archive must not outlive the fetch; other processes do not see the event.
    stop = threading.Event() if isinstance(pool, ThreadPoolExecutor) else None

    def send(number, rows):
        which = {name: int(table[name][rows[0]]) for name in ("run", "rerun", "camcol", "field")}
        jobs = [(archive, frames, {**which, "band": band}, ra[rows], dec[rows], size, stop) for band in the_plan.bands]
        return number, rows, [pool.submit(_cut_frame, *job) for job in jobs]

    def fits(rows):
        held = sum(len(others) for _, others, _ in ahead)
        return len(ahead) < AHEAD and 4 * size**2 * len(the_plan.bands) * (held + len(rows)) <= AHEAD_BYTES

    waiting, ahead, megabytes = deque(field for field in fields if field[0] not in done), deque(), 0
    try:
        while waiting or ahead:
            # Fields are written in order, and only so many wait that memory stays flat.
            while waiting and (not ahead or fits(waiting[0][1])):
                ahead.append(send(*waiting.popleft()))
            number, rows, futures = ahead.popleft()
            results = [future.result() for future in futures]
            missing = {int(rows[i]): why for result in reversed(results) for i, why in result.problems.items()}
            passing = any(result.again for result in results)
            kept = ~np.isin(rows, list(missing))
            images = np.stack([result.images[kept] for result in results], axis=1)
            work.add_field(number, images, missing, passing)
            problems |= missing
            again |= missing.keys() if passing else set()
            failures = failures + 1 if passing else 0
            if failures == GIVE_UP:
                raise ArchiveError(f"{GIVE_UP} fields in a row failed, the last because {missing[int(rows[0])]}")
            megabytes += sum(result.fetched for result in results) / 1e6
            rate = megabytes / max(bar.format_dict["elapsed"], 1e-3)
            bar.set_postfix_str(f"{megabytes:,.0f} MB fetched, {rate:.1f} MB/s", refresh=False)
            bar.update()
    finally:
        if stop is not None:
            stop.set()
        for future in [future for *_, futures in ahead for future in futures]:
            future.cancel()
        bar.close()
    return problems, again


@dataclass(frozen=True)
class _Cut:
    """The cutouts of one field in one band, what is wrong with some, and how many bytes were fetched."""

    images: np.ndarray
    problems: dict
    again: bool = False
    fetched: int = 0


def _cut_frame(archive, frames, which, ra, dec, size, stop):
    """The `_Cut` of objects at `ra`, `dec` (deg) in one frame; `which` are the arguments of `Archive.read_frame`."""
    path = archive.frame_path(**which, folder=frames)
    kept = path.exists()
    try:
        frame = archive.read_frame(**which, folder=frames, objects=(ra, dec), stop=stop)
    except FrameError as error:
        images = np.full((len(ra), size, size), np.nan, np.float32)
        return _Cut(images, dict.fromkeys(range(len(ra)), str(error)), error.again)
    images, problems = frame.cutouts(ra, dec, size)
    problems = {row: f"{why} in {which['band']}" for row, why in problems.items()}
    return _Cut(images, problems, fetched=0 if kept else path.stat().st_size)


def _opened(archive):
    return nullcontext(archive) if isinstance(archive, Archive) else open_archive(archive)


def _frames_folder(out, frames):
    if frames is None and out is not None:
        return Path(out).absolute().parent / "frames"
    return frames


def _describe(folder):
    from data_fetch.dataset_card import describe_or_warn  # takes seconds to import, for matplotlib

    describe_or_warn(folder)


def _missing(catalogue, rows, problems, again):
    """What goes into missing.ecsv: objects without a cutout, and positions without an object, which have no id."""
    lost = catalogue["objid", "ra", "dec"][rows]
    lost.meta.clear()
    lost["reason"] = np.array([problems[row] for row in rows], str)
    lost["retry"] = np.array([row in again for row in rows], bool)
    unmatched = catalogue.meta["unmatched"].copy()
    unmatched["objid"] = np.ma.masked_all(len(unmatched), np.uint64)
    unmatched["retry"] = np.zeros(len(unmatched), bool)
    return vstack([table for table in (lost, unmatched) if len(table)] or [lost], metadata_conflicts="silent")


def _card(request, archive, meta, missing):
    return {
        "survey": "SDSS",
        "data_set": f"{request.name}: {DATA_SETS[request.name].summary}",
        "archive": archive.name,
        "release": archive.release,
        "bands": list(request.bands),
        "pixel_scale": PIXEL_SCALE,
        "missing": missing,
        **({"expected": meta["expected"]} if "expected" in meta else {}),
        "sql": meta["sql"],
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {
            "python": platform.python_version(),
            "astro-ssl-nb": astro_ssl_nb.__version__,
            **{module.__name__: module.__version__ for module in (astropy, astroquery, np)},
        },
    }


def _silent(_):
    pass
