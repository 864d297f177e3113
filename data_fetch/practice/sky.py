"""Skies that the practice archive can serve: the simulated one, and a folder of real frames.

Both answer the same two questions: what is in the catalogue (`tables`), and what does a frame look like
(`frame_bytes`).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table

from .galaxyzoo import take_votes
from .instrument import Observation
from .photometry import measure, measure_field
from .photoz import estimate_redshifts
from .render import render_frame
from .spectra import take_spectra
from .vizier import EFIGI, efigi_rows

FIRST_RUN = 9101  # SDSS never used run numbers above 9000, so no practice objID is that of a real object
CAMCOLS = range(1, 7)


@dataclass(frozen=True)
class SimulatedSky:
    """A universe made from a seed.

    Parameters
    ----------
    seed : int, default=0
        Another seed is another universe seen in other weather.
    n_runs, fields_per_camcol : int
        Its size: runs x 6 camera columns x fields. Fields of a camera column are two apart, so they do not overlap.

    Examples
    --------
    >>> sky = SimulatedSky(seed=0, n_runs=1, fields_per_camcol=1)
    >>> len(sky.tables()["Field"])
    6
    """

    seed: int = 0
    n_runs: int = 5
    fields_per_camcol: int = 9

    def observations(self) -> list[Observation]:
        runs = range(FIRST_RUN, FIRST_RUN + self.n_runs)
        fields = range(11, 11 + 2 * self.fields_per_camcol, 2)
        return [Observation(self.seed, run, camcol, field) for run in runs for camcol in CAMCOLS for field in fields]

    def tables(self) -> dict[str, Table]:
        """The CAS tables Field, PhotoObj, SpecObj, Photoz and zooSpec, and VizieR's EFIGI catalogue."""
        fields, photo, spectra, redshifts, votes, efigi = [], [], [], [], [], []
        for observation in self.observations():
            columns, members, truth = measure(observation)
            fields.append(measure_field(observation, columns))
            photo.append(columns)
            spectra.append(take_spectra(observation, columns, members, truth))
            redshifts.append(estimate_redshifts(observation, columns, members, truth))
            votes.append(take_votes(observation, columns, spectra[-1], members, truth))
            efigi.append(efigi_rows(observation, columns, members, truth))
        tables = {"PhotoObj": photo, "SpecObj": spectra, "Photoz": redshifts, "zooSpec": votes, EFIGI: efigi}
        return {"Field": Table(rows=fields)} | {name: _stack(parts) for name, parts in tables.items()}

    def frame_bytes(self, run: int, camcol: int, field: int, band: str) -> bytes | None:
        """The compressed frame, or None if this sky has no such field or band."""
        observation = Observation(self.seed, run, camcol, field)
        if band not in tuple("ugriz") or observation not in self.observations():
            return None
        return render_frame(observation, band)


class RecordedSky:
    """Frame files in a folder, served as they are, with a catalogue that the caller supplies.

    Parameters
    ----------
    frames_folder : path-like
        Holds `frame-{band}-{run:06d}-{camcol}-{field:04d}.fits.bz2` files.
    photo_objects : Table
        PhotoObj rows, with the CAS columns that will be asked for; fieldID, run, camcol and field make the Field table.
    """

    def __init__(self, frames_folder, photo_objects):
        self.frames_folder, self.photo_objects = Path(frames_folder), photo_objects

    def tables(self) -> dict[str, Table]:
        names = ["fieldID", "run", "rerun", "camcol", "field"]
        _, first = np.unique(self.photo_objects["fieldID"], return_index=True)
        fields = self.photo_objects[names][first]
        fields["quality"] = 3
        for band in "ugriz":
            fields[f"psfWidth_{band}"] = 1.3
        return {"Field": fields, "PhotoObj": self.photo_objects}

    def frame_bytes(self, run: int, camcol: int, field: int, band: str) -> bytes | None:
        """The file's bytes, or None if the folder has no such frame."""
        file = self.frames_folder / f"frame-{band}-{run:06d}-{camcol}-{field:04d}.fits.bz2"
        return file.read_bytes() if file.is_file() else None


def _stack(parts):
    return Table({name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, copy=False)
