"""What is asked for, and what it will cost: the request and the plan."""

from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from astropy.table import Table

from data_fetch.catalogues import DATA_SETS, choose
from data_fetch.folder import FetchError
from data_fetch.frames import BANDS

FRAME_BYTES = 3.4e6  # mean size of a packed frame, over fifteen of DR17
SIZES = range(8, 513)


@dataclass(frozen=True)
class Request:
    """The checked arguments of `plan` and `fetch`."""

    name: str
    n: int | None
    bands: str | tuple
    size: int
    mag_limits: tuple | None
    seed: int
    exclude: tuple

    def __post_init__(self):
        if self.name not in DATA_SETS:
            raise FetchError(f"unknown data set {self.name!r}: choose from {', '.join(DATA_SETS)}")
        data_set = DATA_SETS[self.name]
        for key, value in (
            ("n", data_set.n if self.n is None else self.n),
            ("bands", tuple(self.bands)),
            ("mag_limits", tuple(float(m) for m in self.mag_limits or data_set.mag_limits)),
            ("exclude", (self.exclude,) if isinstance(self.exclude, str | Path) else tuple(self.exclude)),
        ):
            object.__setattr__(self, key, value)
        classes = max(1, len(data_set.classes))
        if self.n < classes:
            raise FetchError(f"n={self.n} objects are too few: use {classes} or more")
        if self.n % classes:
            below = self.n // classes * classes
            raise FetchError(
                f"n={self.n} objects cannot be shared equally by {classes} classes: use {below} or {below + classes}"
            )
        unknown = [band for band in self.bands if band not in BANDS]
        if unknown or len(set(self.bands)) != len(self.bands) or not self.bands:
            raise FetchError(f"unknown bands {''.join(self.bands)!r}: use some of {BANDS}, each once")
        if self.size not in SIZES:
            raise FetchError(f"size={self.size} pixels: use {SIZES[0]} to {SIZES[-1]}")
        if not self.mag_limits[0] < self.mag_limits[1]:
            raise FetchError(f"mag_limits {self.mag_limits} hold no magnitude: give the bright limit first")

    def identity(self, archive):
        """Whatever decides the result, as JSON: sets to exclude by their content, wherever they are."""
        exclude = []
        for folder in self.exclude:
            catalogue = Path(folder) / "catalogue.parquet"
            if not catalogue.exists():
                raise FetchError(f"{folder} is not a CutoutSet to exclude: it has no catalogue.parquet")
            exclude.append(sha256(catalogue.read_bytes()).hexdigest())
        return {**asdict(self), "exclude": exclude, "archive": archive.name, "release": archive.release}


@dataclass(frozen=True)
class Plan:
    """What a fetch will hold and cost. Printing it says so in words.

    Attributes
    ----------
    title : str
        The data set, the archive and the release.
    catalogue : astropy.table.Table
        The objects, one row each, those of a field together.
    bands : tuple of str
    kept : int
        Frames that need not be fetched, because they were before.
    """

    title: str
    catalogue: Table
    bands: tuple
    kept: int

    @property
    def objects(self):
        """Number of objects."""
        return len(self.catalogue)

    @property
    def fields(self):
        """Number of fields that the objects are in."""
        return len(fields_of(self.catalogue))

    @property
    def frames(self):
        """Number of frames, one a field and band, that the objects are cut from."""
        return self.fields * len(self.bands)

    @property
    def queries(self):
        """Number of SQL queries that chose the objects; a fetch into the same folder does not send them again."""
        return len(self.catalogue.meta["sql"])

    @property
    def requests(self):
        """Number of requests that remain: one for each frame that is not kept."""
        return self.frames - self.kept

    @property
    def bytes(self):
        """Size of the frames to fetch, about."""
        return self.requests * FRAME_BYTES

    def __str__(self):
        excluded = self.catalogue.meta["excluded"]
        lines = [
            self.title,
            f"  objects   {self.objects:,}{_counts(self.catalogue)}",
            f"  fields    {self.fields:,} in bands {' '.join(self.bands)}",
            f"  frames    {self.frames:,}, of which {self.kept:,} are here already",
            f"  requests  {self.requests:,} for frames, about {self.bytes / 1e6:,.0f} MB",
            f"  queries   {self.queries:,}, answered",
        ]
        if excluded is not None:
            lines.append(
                f"  overlap   {excluded['by id']} objects of the excluded sets and {excluded['by position']} within a "
                "cutout's width of one were met and left out"
            )
        return "\n".join(lines)


def make_plan(request, archive, work, frames):
    catalogue = choose(
        archive,
        DATA_SETS[request.name],
        request.n,
        mag_limits=request.mag_limits,
        size=request.size,
        seed=request.seed,
        exclude=request.exclude,
        folder=None if work is None or work.complete else work.answers,
    )
    kept = 0
    if frames is not None:
        for rows in fields_of(catalogue):
            run, rerun, camcol, field = (int(catalogue[name][rows[0]]) for name in ("run", "rerun", "camcol", "field"))
            paths = [archive.frame_path(run, camcol, field, band, frames, rerun=rerun) for band in request.bands]
            kept += sum(path.exists() for path in paths)
    return Plan(f"{request.name} from {archive.name}, data release {archive.release}", catalogue, request.bands, kept)


def fields_of(catalogue):
    """Row numbers of each field, in the order of the catalogue."""
    where = np.column_stack([catalogue[name] for name in ("run", "rerun", "camcol", "field")])
    return np.split(np.arange(len(where)), np.flatnonzero((where[1:] != where[:-1]).any(axis=1)) + 1)


def _counts(catalogue):
    if "class" not in catalogue.colnames:
        return ""
    labels, counts = np.unique(catalogue["class"], return_counts=True)
    return ": " + ", ".join(f"{count:,} {label}" for label, count in zip(labels, counts, strict=True))
