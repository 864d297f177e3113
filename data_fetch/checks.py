"""Is a data set still what was fetched?"""

from pathlib import Path

import numpy as np
from astropy.table import Table

from astro_ssl_nb.cutouts import CutoutSet
from astro_ssl_nb.files import file_digest, read_json
from astro_ssl_nb.finite import nonfinite_rows


def verify(folder):
    """Check a fetched data set: checksums, numbers of rows, ids and pixels.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    list of str
        What is wrong, one sentence each; empty if nothing is.

    Examples
    --------
    >>> verify("no/such/folder")[0].split(": ")[0]
    'there is no CutoutSet at no/such/folder'
    """
    folder = Path(folder)
    problems = list(wrong_files(folder))
    try:
        cutouts = CutoutSet.open(folder)
        problems += _inconsistencies(folder, cutouts)
    except (OSError, ValueError) as error:
        problems.append(str(error))
    except Exception as error:  # whatever a damaged card or table leads to
        problems.append(f"{folder} cannot be checked ({type(error).__name__}: {error}): its files do not fit together")
    return problems


def wrong_files(folder, most=np.inf):
    """Say which files of a fetched data set are not those that were written, and what to do.

    Parameters
    ----------
    folder : Path
    most : float
        Bytes of a file; larger ones are not looked at.

    Yields
    ------
    str
        One sentence a file.
    """
    advice = f"remove {folder} and fetch it again by the command that made it; frames are kept elsewhere"
    try:
        checksums = dict(read_json(folder / "card.json")["checksums"])
    except FileNotFoundError:
        return  # opening the set says so
    except (KeyError, TypeError, ValueError):
        yield (
            f"{folder / 'card.json'} names no checksums: it is not of a whole set that was fetched, or damaged. If it "
            f"was fetched, {advice}"
        )
        return
    for name, expected in checksums.items():
        path = folder / name
        if path.is_file() and path.stat().st_size > most:
            continue
        found = file_digest(path) if path.is_file() else "no such file"
        if found != expected:
            yield f"{path} is not the file that was fetched (SHA-256 {found}, the card says {expected}): {advice}"


def _inconsistencies(folder, cutouts):
    catalogue, card = cutouts.catalogue, cutouts.card
    ids, counts = np.unique(np.asarray(catalogue["objid"]), return_counts=True)
    # Of one object there may well be two pictures of one's own.
    if card.get("survey") == "SDSS" and (counts > 1).any():
        yield f"{(counts > 1).sum()} objects are in the catalogue more than once, the first is {ids[counts > 1][0]}"
    broken = nonfinite_rows(cutouts)
    if len(broken):
        yield f"{len(broken)} images have pixels that are not finite, the first is that of row {broken[0]}"
    listed = folder / "missing.ecsv"
    missing = Table.read(listed) if listed.exists() else Table(names=["objid"])
    if len(missing) != card.get("missing", 0):
        yield f"the card counts {card.get('missing', 0)} missing objects, {listed} lists {len(missing)}"
    asked = (card.get("request") or {}).get("n")
    # A position without an object has no id.
    lost = np.ma.compressed(np.ma.asarray(missing["objid"]))
    if asked is not None and len(cutouts) + len(lost) != asked:
        yield f"{asked} objects were asked for: {len(cutouts)} are here and {len(lost)} are listed as missing"
    if np.isin(lost, ids).any():
        yield f"{np.isin(lost, ids).sum()} objects are in the catalogue and listed as missing"
