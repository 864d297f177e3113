"""The card of a data set: what is in a CutoutSet, in words and pictures, written from what is in it."""

import io
from collections import Counter
from pathlib import Path

import numpy as np
from astropy.table import Table

from astro_ssl_nb.cutouts import CutoutSet
from astro_ssl_nb.set_files import SHOWN, class_column
from data_fetch.card_pictures import contact_sheet, magnitudes, redshifts, sky_map
from data_fetch.folder import write_atomically
from data_fetch.tables import class_labels

MARK = "<!-- Written by `python -m data_fetch card`, which overwrites what is changed here. -->"
DRAWINGS = {"cutouts": contact_sheet, "magnitude": magnitudes, "redshift": redshifts, "sky": sky_map}
CITING = "https://www.sdss.org/collaboration/citing-sdss/"
PUBLIC = "https://www.sdss.org/collaboration/image-use-policy/"
EFIGI = "EFIGI: Baillard et al. 2011, A&A 532, A74"
ZOO = "Galaxy Zoo: Lintott et al. 2008, MNRAS 389, 1179, and Lintott et al. 2011, MNRAS 410, 166"
PAPER = "Martinazzo, Espadoto & Hirata 2020, arXiv:2004.11336"


def write_dataset_card(folder):
    """Describe a CutoutSet in `README.md`, with the pictures in `card/`. The same set gives the same text.

    Needs no display, and leaves matplotlib's backend as it is.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    Path
        Of the README.md.

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder is not a CutoutSet.
    FileExistsError
        If it has a README.md that this function did not write.

    Examples
    --------
    >>> import tempfile
    >>> cutouts = CutoutSet.from_arrays(np.ones((2, 3, 8, 8)), Table({"objid": [7, 8]}), bands="gri")
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     print(write_dataset_card(cutouts.save(f"{parent}/set")).name)
    README.md
    """
    folder = Path(folder)
    cutouts, path = CutoutSet.open(folder), folder / "README.md"
    if path.exists() and MARK not in path.read_text(errors="replace"):
        raise FileExistsError(f"{path} was written by somebody else: rename it, and call this again")
    labels, classes = _classes(cutouts)
    pictures = []
    if len(classes) > SHOWN:
        pictures.append(f"The pictures show the {SHOWN} largest of {len(classes)} classes.")
    for name, draw in DRAWINGS.items():
        figure, alt = draw(cutouts, labels, classes[:SHOWN]) if len(cutouts) else (None, "")
        picture = folder / "card" / f"{name}.png"
        if figure is None:
            picture.unlink(missing_ok=True)  # of an earlier card
            continue
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=110, metadata={"Software": None})
        write_atomically(picture, png.getvalue())
        pictures.append(f"![{_cell(alt)}](card/{name}.png)")
    sections = (
        _front(cutouts),
        _facts(cutouts),
        _counts(cutouts, labels, classes),
        ["\n\n".join(pictures)],
        _missing(folder),
        _queries(cutouts.card),
        _checksums(cutouts.card),
        _credits(cutouts.card),
    )
    write_atomically(path, "\n\n".join("\n".join(lines) for lines in sections if lines).encode() + b"\n")
    return path


def describe_or_warn(folder):
    """Write the card of a set that was just made, which is whole without one: whatever prevents it is printed."""
    try:
        write_dataset_card(folder)
    except Exception as error:  # a README.md of the user, a full disk, or values that no picture can show
        print(f"warning: no card was written: {error} ({type(error).__name__}); the set is whole without")


def _classes(cutouts):
    """The class of each row as str, and the classes, the largest first. Without classes, all rows are "all"."""
    labels = class_labels(cutouts.catalogue)
    if labels is None:
        return np.full(len(cutouts), "all"), ["all"]
    names, counts = np.unique(labels, return_counts=True)
    return labels, [str(names[i]) for i in np.argsort(-counts, kind="stable")]


def _front(cutouts):
    """What the Hugging Face hub reads."""
    licence = ["license: other", "license_name: public-domain", f"license_link: {PUBLIC}"]
    if _simulated(cutouts.card):
        licence = ["license: bsd-3-clause"]
    elif cutouts.card.get("survey") != "SDSS":
        licence = ["license: unknown"]
    task = "image-classification" if class_column(cutouts.catalogue) else "image-feature-extraction"
    sizes = ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (np.inf, "n>1M"))
    size = next(name for limit, name in sizes if len(cutouts) < limit)
    return ["---", *licence, f"task_categories: [{task}]", f'size_categories: ["{size}"]', "tags: [astronomy]", "---"]


def _facts(cutouts):
    card, size = cutouts.card, cutouts.shape[2:]
    kind = "8-bit colour pictures" if cutouts.is_picture else "float32 images of linear flux"
    unit = "" if cutouts.is_picture or card.get("survey") == "image files" else " in nanomaggies (zero point 22.5 mag)"
    lines = [f"# {_cell(card.get('data_set', 'A set of cutouts'))}", "", MARK, ""]
    if _simulated(card):
        lines += ["**The sky of this set is simulated: no telescope took these images, and nothing here is measured of "
                  "the real sky.**", ""]  # fmt: skip
    lines += [f"{len(cutouts):,} {kind}{unit}, and a catalogue of as many rows in the same order.", ""]
    scale = f"{cutouts.pixel_scale} arcsec" if cutouts.pixel_scale else "not known"
    versions = ", ".join(f"{name} {version}" for name, version in card.get("versions", {}).items())
    facts = {
        **{key: card.get(key) for key in ("survey", "archive", "release")},
        "bands": " ".join(cutouts.bands),
        "pixel scale": scale,
        "size of an image": f"{size[1]} x {size[0]} pixels",
        "date": card.get("date"),
        "versions": versions or None,
        "columns": ", ".join(cutouts.catalogue.colnames),
    }
    return lines + _table(("", ""), [(key, value) for key, value in facts.items() if value is not None])


def _counts(cutouts, labels, classes):
    lines, card, counts = ["## Objects", ""], cutouts.card, Counter(labels.tolist())
    if classes != ["all"]:
        rows = [(name, f"{counts[name]:,}") for name in classes[:SHOWN]]
        if len(classes) > SHOWN:
            rest = sum(counts[name] for name in classes[SHOWN:])
            rows.append((f"{len(classes) - SHOWN:,} other classes", f"{rest:,}"))
        lines += [*_table(("class", "objects"), rows), ""]
    asked, found = (card.get("request") or {}).get("n"), len(cutouts)
    if asked is not None:
        plainly = f"{asked:,}, as many as are here." if asked == found else f"{asked:,}, **but {found:,} are here.**"
        lines += [f"Asked for: {plainly}"]
    expected = card.get("expected")
    if expected is not None:
        plainly = ", as many as are here." if expected == found else f", **which is not the {found:,} that are here.**"
        lines += [f"In the paper ({PAPER}): {expected:,}{plainly}"]
    return lines if len(lines) > 2 else [*lines, f"{found:,}, without classes."]


def _missing(folder):
    lines = ["## Missing", ""]
    if not (folder / "missing.ecsv").exists():
        return [*lines, "No object is listed as missing."]
    reasons = Counter(str(reason) for reason in Table.read(folder / "missing.ecsv")["reason"])
    order = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    rows = [(reason, f"{count:,}") for reason, count in order[:SHOWN]]
    if len(order) > SHOWN:
        rows.append((f"{len(order) - SHOWN:,} other reasons", f"{sum(count for _, count in order[SHOWN:]):,}"))
    return [
        *lines,
        f"{reasons.total():,} have no image here, see [missing.ecsv](missing.ecsv):",
        "",
        *_table(("reason", "objects"), rows),
    ]


def _queries(card):
    sql = card.get("sql") or []
    sql = [sql] if isinstance(sql, str) else sql
    if not sql:
        return ["## Queries", "", "The card of this set names none."]
    code = ["```sql", "\n\n".join(sql), "```"]
    if len(sql) > 1 or len(sql[0]) > 500:
        code = ["<details>", f"<summary>Queries: {len(sql):,}</summary>", "", *code, "", "</details>"]
    return ["## Queries", "", *code]


def _checksums(card):
    if not card.get("checksums"):
        return ["## Checksums", "", "The card of this set names none: it was not fetched, or is a part of another set."]
    rows = [(name, f"`{digest}`") for name, digest in card["checksums"].items()]
    command = ["```", "python -m data_fetch verify FOLDER", "```"]
    return ["## Checksums", "", *_table(("file", "SHA-256"), rows), "", "Check them with", "", *command]


def _credits(card):
    name, lines = str(card.get("data_set", "")).partition(":")[0], []
    if _simulated(card):
        lines += ["- The sky is simulated by astro-ssl-nb (BSD-3-Clause). What follows is for sets of the real one."]
    if card.get("survey") == "SDSS":
        release = card.get("release")
        phase = "SDSS-III" if release in range(8, 13) else "SDSS-V" if release in range(18, 30) else "SDSS-IV"
        paper = "; the paper of release 17 is Abdurro'uf et al. 2022, ApJS 259, 35" if release == 17 else ""
        lines += [
            f"- SDSS: public releases are in the public domain (<{PUBLIC}>). Publications acknowledge {phase} with the "
            f"official text, which stands at <{CITING}>{paper}.",
        ]
    else:
        lines += ["- The card does not name who made the images: ask them for the licence and how to cite them."]
    lines += [f"- {EFIGI}."] if name.startswith("ef") else [f"- {ZOO}."] if name == "mg" else []
    return ["## Licence and citation", "", *lines]


def _simulated(card):
    return str(card.get("archive", "")).startswith("practice")


def _cell(text):
    """Text that cannot break out of its place in Markdown."""
    text = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    return text.replace("|", "\\|").replace("[", "\\[").replace("]", "\\]")


def _table(head, rows):
    return ["| " + " | ".join(map(_cell, row)) + " |" for row in (head, ("---",) * len(head), *rows)]
