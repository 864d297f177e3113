"""summary.json: the numbers of a run, each beside the notebook that measured it."""

import json
import math
from pathlib import Path

from astro_ssl_nb.files import plain, read_json, whole_file


def record(run_folder, section, **numbers):
    """Merge numbers into `summary.json` of a run; a section that is recorded again is replaced.

    Parameters
    ----------
    run_folder : path-like
        Made if it does not exist.
    section : str
        Usually the name of the notebook.
    **numbers
        Anything that JSON can hold, of numpy too; numbers that are not finite, which it cannot, are kept as null.
        `headline`, a list of [label, text], is what
        `make demo` prints at its end.

    Returns
    -------
    dict, the whole summary

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as run:
    ...     record(run, "02_pretrain", mae_r=0.08, low=float("nan"))["sections"]
    {'02_pretrain': {'mae_r': 0.08, 'low': None}}
    """
    sections = read_summary(run_folder).get("sections", {})
    return update_summary(run_folder, sections={**sections, section: numbers})


def read_summary(run_folder):
    """The summary of a run, a dict; {} before there is one."""
    path = Path(run_folder) / "summary.json"
    return read_json(path) if path.exists() else {}


def update_summary(run_folder, **entries):
    """Replace some top-level entries of the summary of a run, in one step; returns the whole summary."""
    summary = read_summary(run_folder) | _finite(entries)
    text = json.dumps(summary, indent=1, allow_nan=False, default=plain) + "\n"
    with whole_file(Path(run_folder) / "summary.json") as file:
        file.write(text.encode())
    return summary


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
