"""What is asked for, and what it will cost: the request and the plan."""

from dataclasses import asdict, dataclass
from operator import index
from pathlib import Path

import numpy as np
from astropy.table import Table

from astro_ssl_nb.files import file_digest
from astro_ssl_nb.set_files import SHOWN
from data_fetch.catalogues import DATA_SETS
from data_fetch.draws import Excluded, draw
from data_fetch.folder import FetchError
from data_fetch.frames import BANDS
from data_fetch.positions import efigi, find, read_positions
from data_fetch.tables import class_labels

FRAME_BYTES = 3.4e6  # mean size of a packed frame, over fifteen of DR17
FRAMES_PER_MINUTE = 60  # one a second is polite, and about what one connection gives
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
    source: str | Path | None = None

    def __post_init__(self):
        if self.name not in DATA_SETS:
            raise FetchError(f"unknown data set {self.name!r}: choose from {', '.join(DATA_SETS)}")
        data_set = DATA_SETS[self.name]
        n = data_set.n if self.n is None and not data_set.by_position else self.n
        for key, value in (
            # JSON has no room for the integers of numpy.
            ("n", n if n is None else _whole("n", n)),
            ("size", _whole("size", self.size)),
            ("seed", _whole("seed", self.seed)),
            ("bands", _letters(self.bands)),
            ("mag_limits", _magnitudes(self.mag_limits or data_set.mag_limits or ()) or None),
            ("exclude", (self.exclude,) if isinstance(self.exclude, str | Path) else tuple(self.exclude)),
        ):
            object.__setattr__(self, key, value)
        classes = max(1, len(data_set.classes))
        if self.n is not None and self.n < classes:
            raise FetchError(f"n={self.n} objects are too few: use {classes} or more")
        if self.n is not None and self.n % classes:
            below = self.n // classes * classes
            raise FetchError(
                f"n={self.n} objects cannot be shared equally by {classes} classes: use {below} or {below + classes}"
            )
        needs_source = data_set.by_position and not data_set.types
        if needs_source != (self.source is not None):
            other = "needs the file of a list" if needs_source else f"takes no list, got {self.source}"
            raise FetchError(f"data set {self.name!r} {other}: try `positions FILE`")
        unknown = set(self.bands) - set(BANDS)
        if unknown or len(set(self.bands)) != len(self.bands) or not self.bands:
            raise FetchError(f"unknown bands {''.join(self.bands)!r}: use some of {BANDS}, each once")
        if self.size not in SIZES:
            raise FetchError(f"size={self.size} pixels: use {SIZES[0]} to {SIZES[-1]}")
        if self.seed < 0:
            raise FetchError(f"seed={self.seed}: use 0 or more")
        if self.mag_limits and not np.isfinite(self.mag_limits).all():
            raise FetchError(f"mag_limits {self.mag_limits}: give two finite magnitudes, the bright limit first")
        if self.mag_limits and len(self.mag_limits) != 2:
            raise FetchError(f"mag_limits {self.mag_limits}: give two magnitudes, the bright limit first")
        if self.mag_limits and not self.mag_limits[0] < self.mag_limits[1]:
            raise FetchError(f"mag_limits {self.mag_limits} hold no magnitude: give the bright limit first")

    def identity(self, archive):
        """Whatever decides the result, as JSON: sets to exclude by their content, wherever they are."""
        exclude = []
        for folder in self.exclude:
            catalogue = Path(folder) / "catalogue.parquet"
            if not catalogue.exists():
                raise FetchError(f"{folder} is not a CutoutSet to exclude: it has no catalogue.parquet")
            exclude.append(file_digest(catalogue))
        try:
            source = self.source and file_digest(self.source)
        except OSError as error:
            raise FetchError(f"{self.source} cannot be read ({error.strerror})") from error
        ours = {"exclude": exclude, "source": source, "archive": archive.name, "release": archive.release}
        return {**asdict(self), **ours}


def _whole(key, value):
    try:
        return index(value)
    except TypeError:
        raise FetchError(f"{key}={value!r}: give a whole number") from None


def _letters(bands):
    try:
        return tuple(map(str, bands))
    except TypeError:
        raise FetchError(f"bands={bands!r}: use some of {BANDS}, each once") from None


def _magnitudes(limits):
    try:
        return tuple(map(float, limits))
    except (TypeError, ValueError):
        raise FetchError(f"mag_limits={limits!r}: give two magnitudes, the bright limit first") from None


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
    size : int
        Pixels a side of a cutout.
    """

    title: str
    catalogue: Table
    bands: tuple
    kept: int
    size: int

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

    @property
    def disk(self):
        """Size of the cutouts in bytes."""
        return 4 * self.objects * len(self.bands) * self.size**2

    def __str__(self):
        meta = self.catalogue.meta
        minutes = -(-self.requests // FRAMES_PER_MINUTE)
        lines = [
            self.title,
            f"  objects   {self.objects:,}{_counts(self.catalogue)}",
            f"  fields    {self.fields:,} in bands {' '.join(self.bands)}",
            f"  frames    {self.frames:,}, of which {self.kept:,} are here already",
            f"  requests  {self.requests:,} for frames, about {self.bytes / 1e6:,.0f} MB and {minutes:,} min "
            f"at {FRAMES_PER_MINUTE} a minute",
            f"  disk      {self.disk / 1e6:,.0f} MB for the set, as much again while it is made, and "
            f"{self.bytes / 1e6:,.0f} MB for frames",
            f"  queries   {self.queries:,}, answered",
        ]
        if meta["excluded"] is not None:
            excluded = meta["excluded"]
            lines.append(
                f"  overlap   {excluded['by id']} objects of the excluded sets and {excluded['by position']} whose "
                "cutout may overlap with one of theirs were met and left out"
            )
        if meta.get("expected", self.objects) != self.objects:
            lines.append(f"  paper     {meta['expected']:,} objects, which is not the number found here")
        if len(meta["unmatched"]):
            lines.append(f"  unmatched {len(meta['unmatched']):,} positions get no object: see missing.ecsv")
        return "\n".join(lines)


def make_plan(request, archive, work, frames, progress=False):
    """The `Plan` of a request; the answers that it takes are kept in the work folder, if there is one."""
    catalogue = _choose(request, archive, None if work is None or work.complete else work.answers, progress)
    kept = 0
    if frames is not None:
        for rows in fields_of(catalogue):
            run, rerun, camcol, field = (int(catalogue[name][rows[0]]) for name in ("run", "rerun", "camcol", "field"))
            paths = [archive.frame_path(run, camcol, field, band, frames, rerun=rerun) for band in request.bands]
            kept += sum(path.exists() for path in paths)
    title = f"{request.name} from {archive.name}, data release {archive.release}"
    return Plan(title, catalogue, request.bands, kept, request.size)


def _choose(request, archive, folder, progress):
    """The catalogue of the chosen objects.

    Its `meta` has the `sql` that was asked, the positions that are `unmatched`, and how many objects were `excluded`
    "by id" and "by position" (None without anything to exclude).
    """
    data_set = DATA_SETS[request.name]
    excluded = Excluded(request.exclude, request.size)
    unmatched = Table()
    if data_set.by_position:
        targets = efigi(archive, data_set.types, folder) if data_set.types else read_positions(request.source)
        catalogue, sql, unmatched = find(archive, targets, request, excluded, folder, progress)
    else:
        catalogue, sql = draw(archive, data_set, request, excluded, folder)
    catalogue.meta = {"sql": sql, "unmatched": unmatched, "excluded": excluded.counts}
    if data_set.types and data_set.n and request.n is None:
        catalogue.meta["expected"] = data_set.n
    return catalogue


def fields_of(catalogue):
    """Row numbers of each field, in the order of the catalogue."""
    where = np.column_stack([catalogue[name] for name in ("run", "rerun", "camcol", "field")])
    return np.split(np.arange(len(where)), np.flatnonzero((where[1:] != where[:-1]).any(axis=1)) + 1)


def _counts(catalogue):
    labels = class_labels(catalogue)
    if labels is None:
        return ""
    labels, counts = np.unique(labels, return_counts=True)
    largest = np.sort(np.argsort(-counts, kind="stable")[:SHOWN])
    said = [f"{counts[i]:,} {labels[i]}" for i in largest]
    if len(labels) > SHOWN:
        said.append(f"{counts.sum() - counts[largest].sum():,} of {len(labels) - SHOWN:,} other classes")
    return ": " + ", ".join(said)
