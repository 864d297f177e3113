"""VizieR in memory: catalogues asked in its ASU dialect, answered as VOTables; and the practice sky's EFIGI catalogue.

The real table's column names could not be checked from here: those below follow VizieR's usual naming.
"""

import io

import numpy as np
from astropy.io import votable
from astropy.table import Table

from .instrument import Observation
from .morphology import UNTYPED
from .populations import Truth

EFIGI = "J/A+A/532/A74/efigi"  # Baillard et al. 2011, A&A 532, A74
UNITS = {"RAJ2000": "deg", "DEJ2000": "deg"}


def efigi_rows(observation: Observation, photo: dict, members: np.ndarray, truth: Truth) -> dict:
    """Rows of EFIGI (dict of arrays): the typed galaxies of a field that do not merge, as an astronomer judged them."""
    rng = observation.rng("efigi")
    t_type = truth.t_type[members]
    rows = np.flatnonzero((t_type != UNTYPED) & ~truth.merger[members] & (photo["mode"] == 1))
    true = t_type[rows]
    # experts agree to about one stage along the sequence; the ends of the scheme are not part of it
    judged = np.clip(np.rint(true + 0.7 * rng.standard_normal(len(rows))), -3, 10).astype(int)
    judged = np.where((true <= -4) | (true == 11), true, judged)
    return {
        "PGCname": np.array([f"PRC{int(photo['objID'][row]) & 0xFFFFFFFFFFF:014d}" for row in rows], dtype="U17"),
        "RAJ2000": np.round(photo["ra"][rows], 6),
        "DEJ2000": np.round(photo["dec"][rows], 6),
        "T": judged,
        "e_T": rng.choice([0, 1, 2], len(rows), p=[0.2, 0.6, 0.2]),  # stages towards earlier types
        "E_T": rng.choice([0, 1, 2], len(rows), p=[0.2, 0.6, 0.2]),  # and towards later ones
    }


class VizierError(Exception):
    """The request asks for what this server does not know."""


class VizieR:
    """Answers requests for whole catalogues, or some of their columns, over a dict of astropy Tables."""

    def __init__(self, tables):
        self._tables = tables

    def answer(self, request: str) -> bytes:
        """The VOTable for a request: one `key=value` a line, as astroquery posts it.

        Raises
        ------
        VizierError
            If the request has a constraint: only whole catalogues are served.
        """
        parameters = dict(line.partition("=")[::2] for line in request.splitlines() if line)
        constraints = [key for key in parameters if not key.startswith("-")]
        if constraints or "-c" in parameters:
            raise VizierError(f"constraints are not supported here: {', '.join(constraints) or '-c'}")
        sources = parameters.get("-source", "").split(",")
        limit = parameters.get("-out.max", "50")
        columns = "**" if "-out.all" in parameters else parameters.get("-out", "*")
        tree = votable.tree.VOTableFile()
        for name, table in self._tables.items():
            if not any(name == source or name.startswith(source + "/") for source in sources if source):
                continue
            names = [column for column in table.colnames if "*" in columns or column in columns.split(",")]
            part = table[names] if limit == "unlimited" else table[names][: int(limit)]
            resource = votable.tree.Resource(name=name.rsplit("/", 1)[0])
            # IDs of VOTable fields may not differ by case alone, hence numbers
            element = votable.tree.TableElement.from_table(
                tree, Table(part, names=[f"c{k}" for k in range(len(names))])
            )
            element.name = name
            for field, column in zip(element.fields, names, strict=True):
                field.name, field.unit = column, UNITS.get(column)
            resource.tables.append(element)
            tree.resources.append(resource)
        buffer = io.BytesIO()
        tree.to_xml(buffer, compressed=False)
        return buffer.getvalue()
