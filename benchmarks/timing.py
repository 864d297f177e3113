"""Sides of a comparison that take turns, and the rows of bench.json that come of them.

A machine whose speed drifts drifts for all sides alike when they take turns, so that the ratio of two turns that follow
each other holds where the seconds themselves do not.
"""

import ctypes
import gc
import statistics
import sys
import time

import torch

# glibc's numbers of the two options, and the largest size it takes for the second.
TRIM_THRESHOLD, MMAP_THRESHOLD, LARGEST = -1, -3, 32 * 2**20


def keep_freed_memory():
    """Let the C library keep what is freed, for all sides alike (Linux with glibc).

    Otherwise the first comparison of a process may hand its memory back and fetch it again in every batch (170,000 page
    faults an epoch of the bare loop were seen, and none in later ones), and the ratio depends on which goes first.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, 2**30)
        mallopt(MMAP_THRESHOLD, LARGEST)


def clock(work):
    """Seconds that a call takes, with what it left running on a GPU."""
    gc.collect()
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def take_turns(sides, repeat, *, warm=True):
    """Measure sides in turns.

    Parameters
    ----------
    sides : dict of name -> callable
        A callable that returns a number has measured itself; any other is clocked.
    repeat : int
    warm : bool, default=True
        Let each side run once before, uncounted.

    Returns
    -------
    dict of name -> list of `repeat` floats
    """
    keep_freed_memory()
    found = {name: [] for name in sides}
    for turn in range(-warm, repeat):
        # Every other round runs backwards: none profits from always being the first.
        for name, side in list(sides.items())[:: -1 if turn % 2 else 1]:
            own = []
            seconds = clock(lambda side=side, own=own: own.append(side()))
            if turn >= 0:
                found[name].append(float(own[0]) if isinstance(own[0], (int, float)) else seconds)
    return found


def compare(what, sides, *, repeat, amount=None, unit="s", at_least=None, at_most=None, warm=True, **notes):
    """Our side, the first, against each other one: a row a peer.

    Parameters
    ----------
    what : str
    sides : dict of name -> callable, as in `take_turns`
    repeat : int
    amount : float, optional
        Work of a call, such as images: then the rows give speeds in `unit`, such as images/s, and the ratio is ours
        over the peer's. Without it they give what a side measures, by default seconds, and the ratio of those.
    at_least, at_most : dict of peer -> float, optional
        What the median ratio has to reach.
    **notes
        Further entries of the rows.
    """
    found = take_turns(sides, repeat, warm=warm)
    if amount is not None:
        found = {name: [amount / seconds for seconds in values] for name, values in found.items()}
    ours, *peers = found
    return [
        {
            "what": what,
            "ours": ours,
            "peer": peer,
            "sides": {name: statistics.median(found[name]) for name in (ours, peer)},
            "unit": unit,
            **spread([mine / other for mine, other in zip(found[ours], found[peer], strict=True)]),
            **limit((at_least or {}).get(peer), (at_most or {}).get(peer)),
            **notes,
        }
        for peer in peers
    ]


def value(what, numbers, unit, *, at_most=None, **notes):
    """One quantity against a limit: a row without a peer."""
    return {"what": what, "unit": unit, **spread(numbers), **limit(None, at_most), **notes}


def spread(numbers):
    """Median, quartiles and count."""
    numbers = sorted(numbers)
    low, _, high = statistics.quantiles(numbers, n=4, method="inclusive") if len(numbers) > 1 else numbers * 3
    return {"median": statistics.median(numbers), "low": low, "high": high, "repeats": len(numbers)}


def limit(at_least, at_most):
    return {"at_least": at_least, "at_most": at_most}


def meets(row):
    """Whether the median of a row keeps its limit, None where it has none."""
    if row["at_least"] is None and row["at_most"] is None:
        return None
    return (row["at_least"] is None or row["median"] >= row["at_least"]) and (
        row["at_most"] is None or row["median"] <= row["at_most"]
    )
