"""What is really there: every object of one field, its place, its light in five bands and its shape.

An object is a point, a bulge and a disk at one place, any of which may be dark: a star is a point, a galaxy a bulge and
a disk, a quasar a point in a galaxy. The catalogue (`photometry`) and the pixels (`render`) are both made from this
table.
"""

from dataclasses import dataclass

import numpy as np

from .galaxies import draw_galaxies
from .instrument import N_COLUMNS, N_ROWS, PIXEL_SCALE, ZERO_POINT, Observation
from .morphology import UNTYPED, draw_nearby, type_galaxies
from .quasars import draw_quasars
from .stars import draw_stars

FAINT_LIMIT = 23.0  # r; objects are drawn to here, fainter than any that the catalogue lists
MARGIN = 45  # pixels around the r frame that are populated too: light from beyond the edge, and the other bands' frames
CLUSTERED = 0.25  # share of galaxies that sit near another of similar redshift: groups, pairs and blends
GROUP_SCALE = 45.0  # arcsec; typical separation in a group, half of the pairs are much closer


@dataclass
class Truth:
    """Arrays of length N; fluxes (N, 5) in nanomaggies after extinction, sizes in arcsec, x and y r pixels from 0."""

    x: np.ndarray
    y: np.ndarray
    kind: np.ndarray  # 'STAR', 'GALAXY' or 'QSO', as SpecObj.class
    subclass: np.ndarray
    redshift: np.ndarray
    point: np.ndarray
    bulge: np.ndarray
    disk: np.ndarray
    bulge_radius: np.ndarray  # half light, major axis
    disk_radius: np.ndarray
    bulge_ratio: np.ndarray  # minor to major axis
    disk_ratio: np.ndarray
    angle: np.ndarray  # of the major axis, radians from the column axis towards the row axis
    t_type: np.ndarray  # stage of nearby galaxies, UNTYPED for everything else
    merger: np.ndarray
    seed: np.ndarray  # of the structure of nearby galaxies and mergers

    def __len__(self):
        return len(self.x)

    @property
    def total(self) -> np.ndarray:
        return self.point + self.bulge + self.disk


def populate(observation: Observation) -> Truth:
    """Every object of a field down to r = 23, the same for the same observation, in any process."""
    rng = observation.rng("objects")
    height, width = N_ROWS + 2 * MARGIN, N_COLUMNS + 2 * MARGIN
    area = height * width * (PIXEL_SCALE / 3600) ** 2
    dimming = observation.extinction
    limit = FAINT_LIMIT - dimming[2]
    star_magnitudes, star_types = draw_stars(rng, observation.galactic, area, limit)
    # large-scale structure makes galaxy counts vary from field to field by more than Poisson: about 15 % at this depth
    overdensity = np.exp(0.15 * rng.standard_normal())
    galaxies = draw_galaxies(rng, area * overdensity, limit)
    quasars = draw_quasars(rng, area, limit)
    host = quasars["host"]
    nearby_rng = observation.rng("nearby")
    nearby = draw_nearby(nearby_rng)
    t_type = type_galaxies(nearby_rng, galaxies, dimming)
    n_stars, n_galaxies, n_quasars = len(star_types), len(galaxies["redshift"]), len(quasars["redshift"])
    n_nearby = len(nearby["x"])

    flux = lambda magnitudes: 10 ** (-0.4 * (magnitudes + dimming - ZERO_POINT))  # noqa: E731
    dark = lambda n: np.zeros((n, 5))  # noqa: E731
    joined = lambda name, of_star: np.concatenate([np.full(n_stars, of_star), galaxies[name], host[name], nearby[name]])  # noqa: E731
    x = rng.uniform(-MARGIN - 0.5, N_COLUMNS + MARGIN - 0.5, n_stars + n_galaxies + n_quasars)
    y = rng.uniform(-MARGIN - 0.5, N_ROWS + MARGIN - 0.5, len(x))
    members = slice(n_stars, n_stars + n_galaxies)
    x[members], y[members] = _cluster(rng, x[members], y[members], galaxies["redshift"], galaxies["disk"][:, 2])
    n_rest = n_stars + n_galaxies + n_quasars
    redshifts = [rng.normal(0, 2.5e-4, n_stars), galaxies["redshift"], quasars["redshift"], nearby["redshift"]]
    return Truth(
        x=np.append(x, nearby["x"]),
        y=np.append(y, nearby["y"]),
        kind=np.repeat(["STAR", "GALAXY", "QSO", "GALAXY"], [n_stars, n_galaxies, n_quasars, n_nearby]),
        subclass=np.concatenate([star_types, galaxies["subclass"], quasars["subclass"], nearby["subclass"]]),
        redshift=np.concatenate(redshifts),
        point=np.concatenate([flux(star_magnitudes), dark(n_galaxies), flux(quasars["point"]), dark(n_nearby)]),
        bulge=np.concatenate([dark(n_stars), *(flux(part["bulge"]) for part in (galaxies, host, nearby))]),
        disk=np.concatenate([dark(n_stars), *(flux(part["disk"]) for part in (galaxies, host, nearby))]),
        bulge_radius=joined("bulge_radius", 0.0),
        disk_radius=joined("disk_radius", 0.0),
        bulge_ratio=joined("bulge_ratio", 1.0),
        disk_ratio=joined("disk_ratio", 1.0),
        angle=joined("angle", 0.0),
        t_type=np.concatenate([np.full(n_stars, UNTYPED), t_type, np.full(n_quasars, UNTYPED), nearby["t_type"]]),
        merger=np.append(np.zeros(n_rest, bool), nearby["merger"]),
        seed=nearby_rng.integers(2**31, size=n_rest + n_nearby),
    )


def _cluster(rng, x, y, redshift, magnitude):
    """Move some galaxies next to brighter ones of similar redshift; neither counts nor redshifts change."""
    moved = np.flatnonzero(rng.random(len(x)) < CLUSTERED)
    centres = np.flatnonzero(magnitude < np.quantile(magnitude, 0.25)) if len(x) else np.array([], int)
    if not len(centres) or not len(moved):
        return x, y
    centres = centres[np.argsort(redshift[centres])]
    nearest = np.clip(np.searchsorted(redshift[centres], redshift[moved]), 0, len(centres) - 1)
    anchor = centres[nearest]
    # projected two-point function ~ r^-0.8 (Zehavi et al. 2002, ApJ 571, 172): r is drawn as u^(1/1.2)
    distance = GROUP_SCALE / PIXEL_SCALE * 1.6 * rng.random(len(moved)) ** (1 / 1.2) + 2.0
    angle = rng.uniform(0, 2 * np.pi, len(moved))
    new_x, new_y = x[anchor] + distance * np.cos(angle), y[anchor] + distance * np.sin(angle)
    inside = (np.abs(new_x - N_COLUMNS / 2) < N_COLUMNS / 2 + MARGIN) & (
        np.abs(new_y - N_ROWS / 2) < N_ROWS / 2 + MARGIN
    )
    moved, new_x, new_y = moved[inside], new_x[inside], new_y[inside]
    x, y = x.copy(), y.copy()
    x[moved], y[moved] = new_x, new_y
    return x, y
