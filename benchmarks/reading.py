"""Reading: training from a memory-mapped set, memory against the number of cutouts, opening a large set."""

import sys
import tempfile
from pathlib import Path

from blobs import blobs, noise_set, sparse_set
from children import child
from timing import clock, compare, value
from training import fit, make_learner

import astro_ssl_nb as ssl


def measure(*, repeat, n, few, many, limited, limit_mb, batches, rows_to_open):
    """All rows of this section.

    Parameters
    ----------
    n : int
        Cutouts of 32 pixels that are trained from disk and from memory.
    few, many : int
        Cutouts of the two sets whose memory is compared.
    limited, limit_mb, batches : int
        Cutouts of 32 pixels (20 kB each), `batches` of which are trained by a process that may take `limit_mb` of
        memory of its own beside what its imports take. It begins with none of the file in the memory of the system.
    rows_to_open : int
    """
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        return [
            *from_disk(folder, n, repeat),
            *from_several(folder, n, repeat),
            *memory(folder, few, many, repeat),
            # Elsewhere than on Linux the limit is not one of memory.
            *(larger_than_memory(folder, limited, limit_mb, batches, repeat) if sys.platform == "linux" else []),
            opening(folder, rows_to_open, repeat),
        ]


def from_disk(folder, n, repeat):
    train, valid = blobs(n, 32), blobs(n // 8, 32, seed=1)
    stored = [ssl.CutoutSet.open(part.save(folder / name)) for part, name in ((train, "train"), (valid, "valid"))]
    ours = make_learner("property_learner", *stored, "resnet10t", "bands")
    peer = make_learner("property_learner", train, valid, "resnet10t", "bands")
    return compare(
        "training from a memory-mapped set: resnet10t, 32 px, bands",
        {"from disk": lambda: fit(ours), "in memory": lambda: fit(peer)},
        repeat=repeat,
        amount=n,
        unit="images/s",
        at_least={"in memory": 0.97},
    )


def from_several(folder, n, repeat):
    parts, valid = [blobs(n // 8, 32, seed=k) for k in range(8)], blobs(n // 8, 32, seed=8)
    stored = [ssl.CutoutSet.open(part.save(folder / f"part{k}")) for k, part in enumerate(parts)]
    joined = ssl.CutoutSet.concatenate(stored)
    one = ssl.CutoutSet.open(joined.save(folder / "joined"))
    learners = {
        name: make_learner("property_learner", part, valid, "resnet10t", "bands")
        for name, part in (("eight sets joined", joined), ("one set", one))
    }
    return compare(
        "training from sets joined: resnet10t, 32 px, bands",
        {name: lambda learn=learn: fit(learn) for name, learn in learners.items()},
        repeat=repeat,
        amount=n,
        unit="images/s",
        at_least={"one set": 0.97},
    )


def memory(folder, few, many, repeat):
    sets = {count: sparse_set(folder / str(count), count, 16) for count in (many, few)}
    return compare(
        f"training: memory of its own, {many:,} cutouts over {few:,}",
        {f"{n:,} cutouts": lambda path=path: child("train", path)["anonymous_mb"] for n, path in sets.items()},
        repeat=repeat,
        unit="MB",
        at_most={f"{few:,} cutouts": 1.1},
        warm=False,
    )


def larger_than_memory(folder, n, limit_mb, batches, repeat):
    path = noise_set(folder / "limited", n, 32)
    size = (path / "images.npy").stat().st_size / 1e6
    if size < limit_mb:
        raise ValueError(f"a set of {size:.0f} MB shows nothing about a limit of {limit_mb} MB: take more cutouts")
    return compare(
        f"training from a set of {size:,.0f} MB in a process that may take {limit_mb:,} MB",
        {
            "limited, from disk": lambda: child("train", path, batches=batches, limit_mb=limit_mb, cold=1)["seconds"],
            "unlimited, in memory": lambda: child("train", path, batches=batches, in_memory=1)["seconds"],
        },
        repeat=repeat,
        amount=batches * 64,
        unit="images/s",
        at_least={"unlimited, in memory": 0.97},
        warm=False,
    )


def opening(folder, rows, repeat):
    path = sparse_set(folder / "large", rows, 8)
    ssl.CutoutSet.open(path)  # to warm up
    seconds = [clock(lambda: ssl.CutoutSet.open(path)) for _ in range(repeat)]
    return value(f"opening a set of {rows:,} cutouts", seconds, "s", at_most=1.0)
