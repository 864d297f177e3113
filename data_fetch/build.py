"""From a request to a CutoutSet: fetch it, and go on where a killed run stopped."""

import platform
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime
from os import cpu_count
from pathlib import Path

import astropy
import astroquery
import numpy as np
from tqdm import tqdm

import astro_ssl_nb
from data_fetch.archive import CONNECTIONS, Archive, open_archive
from data_fetch.catalogues import DATA_SETS
from data_fetch.folder import FetchError, WorkFolder
from data_fetch.frames import BANDS, PIXEL_SCALE, FrameError
from data_fetch.plans import Request, fields_of, make_plan


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
):
    """Choose the objects and say what fetching them costs; no frame is requested.

    Takes the parameters of `fetch`. Given `out`, the answers of the archive are kept there for the fetch.

    Returns
    -------
    Plan
    """
    request = Request(name, n, bands, size, mag_limits, seed, exclude)
    with _opened(archive) as archive:
        work = None if out is None else WorkFolder(out, request.identity(archive))
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
    progress=True,
):
    """Fetch a data set into a folder, or go on with it; a complete one is opened and nothing is fetched.

    Parameters
    ----------
    name : {"pretext", "sg", "sgq"}
        See `data_fetch.DATA_SETS`.
    out : path-like
        The folder of the CutoutSet.
    archive : str or Archive, default="practice"
        An opened archive, or a name or URL for `open_archive`.
    n : int, optional
        Objects in all, as many of each class; by default the size in the paper.
    bands : str or sequence of str, default="ugriz"
    size : int, default=32
        Pixels (0.396 arcsec) a side of the cutouts.
    mag_limits : (float, float), optional
        Model magnitude in r; by default 14 to 21.5.
    seed : int, default=0
        Another seed takes other fields.
    exclude : sequence of path-like, optional
        Folders of CutoutSets: neither their objects nor anything within a cutout's width of one is chosen.
    frames : path-like, optional
        Where frames are kept, for all data sets; by default the folder `frames` beside `out`.
    progress : bool, default=True
        Print the plan and show a progress bar.

    Returns
    -------
    CutoutSet
        Objects whose cutout cannot be had are not in it but in `missing.ecsv`, with the reason.

    Raises
    ------
    FetchError
        If the request cannot be met.
    ArchiveError
        If the archive fails. What was fetched is kept: the same call goes on from there.
    """
    request = Request(name, n, bands, size, mag_limits, seed, exclude)
    say = print if progress else _silent
    with _opened(archive) as archive:
        work = WorkFolder(out, request.identity(archive))
        if work.complete:
            say(f"{out} is complete, and is what was asked for: nothing to fetch")
            return astro_ssl_nb.CutoutSet.open(out)
        done = work.begin((len(request.bands), size, size))
        frames = _frames_folder(out, frames)
        the_plan = make_plan(request, archive, work, frames)
        say(the_plan)
        problems = _cut_fields(the_plan, archive, frames, size, work, done, progress)
    catalogue = the_plan.catalogue
    keep = np.ones(len(catalogue), bool)
    keep[list(problems)] = False
    missing = catalogue["objid", "ra", "dec"][~keep]
    missing["reason"] = [problems[row] for row in np.flatnonzero(~keep)]
    if not keep.any():
        raise FetchError(
            f"none of the {len(keep)} cutouts can be had, the first because {problems[0]}; remove {out} to try again"
        )
    if len(missing):
        say(f"warning: {len(missing)} of {len(keep)} objects have no cutout: see {Path(out) / 'missing.ecsv'}")
    return work.finish(catalogue[keep], missing, _card(request, archive, catalogue.meta["sql"], len(missing)))


def _cut_fields(the_plan, archive, frames, size, work, done, progress):
    """Cut all fields that are not done, several frames at a time; returns {row of the catalogue: problem}."""
    fields = fields_of(the_plan.catalogue)
    problems = {int(row): reason for line in done for row, reason in line["missing"].items()}
    workers = max(CONNECTIONS, cpu_count() or 1)
    bar = tqdm(total=len(fields), initial=len(done), unit="field", disable=not progress)
    pool = ThreadPoolExecutor(workers)  # threads will do: bz2 unpacks outside the interpreter's lock

    def send(rows):
        objects = the_plan.catalogue[rows]
        return rows, [pool.submit(_cut_frame, archive, frames, objects, band, size) for band in the_plan.bands]

    ahead, megabytes = deque(), 0
    try:
        for rows in [*fields[len(done) :], *[None] * workers]:
            if rows is not None:
                ahead.append(send(rows))
            # Fields are written in order, and only so many wait that memory stays flat.
            if ahead and (rows is None or len(ahead) > workers):
                rows, futures = ahead.popleft()
                results = [future.result() for future in futures]
                missing = {int(rows[i]): why for _, found, _ in reversed(results) for i, why in found.items()}
                kept = ~np.isin(rows, list(missing))
                images = np.stack([images[kept] for images, _, _ in results], axis=1)
                work.add_field(images, {"missing": missing})
                problems |= missing
                megabytes += sum(fetched for _, _, fetched in results) / 1e6
                bar.set_postfix_str(f"{megabytes:,.0f} MB fetched", refresh=False)
                bar.update()
    finally:
        pool.shutdown(cancel_futures=True)
        bar.close()
    return problems


def _cut_frame(archive, frames, objects, band, size):
    """The cutouts of all objects of one field in one band, their problems, and how many bytes were fetched."""
    which = [int(objects[name][0]) for name in ("run", "camcol", "field")]
    rerun = int(objects["rerun"][0])
    path = archive.frame_path(*which, band, frames, rerun=rerun)
    kept = path.exists()
    try:
        frame = archive.read_frame(*which, band, frames, rerun=rerun)
    except FrameError as error:
        images = np.full((len(objects), size, size), np.nan, np.float32)
        return images, dict.fromkeys(range(len(objects)), str(error)), 0
    images, problems = frame.cutouts(objects["ra"], objects["dec"], size)
    problems = {row: f"{why} in {band}" for row, why in problems.items()}
    return images, problems, 0 if kept else path.stat().st_size


def _opened(archive):
    return nullcontext(archive) if isinstance(archive, Archive) else open_archive(archive)


def _frames_folder(out, frames):
    if frames is None and out is not None:
        return Path(out).absolute().parent / "frames"
    return frames


def _card(request, archive, sql, missing):
    return {
        "survey": "SDSS",
        "data_set": f"{request.name}: {DATA_SETS[request.name].summary}",
        "archive": archive.name,
        "release": archive.release,
        "bands": list(request.bands),
        "pixel_scale": PIXEL_SCALE,
        "missing": missing,
        "sql": sql,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {
            "python": platform.python_version(),
            "astro-ssl-nb": astro_ssl_nb.__version__,
            **{module.__name__: module.__version__ for module in (astropy, astroquery, np)},
        },
    }


def _silent(_):
    pass
