"""summary.json: the numbers of a run, each beside the notebook that measured it."""

import json
import math
from pathlib import Path


def record(run_folder, section, **numbers):
    """Merge numbers into `summary.json` of a run; a section that is recorded again is replaced.

    Parameters
    ----------
    run_folder : path-like
        Made if it does not exist.
    section : str
        Usually the name of the notebook.
    **numbers
        Anything that JSON can hold; NaN, which it cannot, is kept as null. `headline`, a list of [label, text], is what
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
    path = Path(run_folder) / "summary.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    summary = json.loads(path.read_text()) if path.exists() else {}
    summary.setdefault("sections", {})[section] = _without_nan(numbers)
    part = path.with_name("summary.json.part")
    part.write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n")
    part.replace(path)
    return summary


def _without_nan(value):
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
