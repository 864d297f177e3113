"""Work in a process of its own, which reports its time and memory as a line of JSON.

python benchmarks/children.py train FOLDER
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil


def child(work, folder, **options):
    """Run some work on the set in a folder in another process; returns a dict: seconds, memory beside its answer."""
    command = [sys.executable, __file__, work, str(folder)]
    command += [f"--{name.replace('_', '-')}={number}" for name, number in options.items()]
    package = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    if run.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {run.stderr.strip().splitlines()[-1:]}")
    return json.loads(run.stdout.splitlines()[-1])


class AnonymousMemory:
    """Context manager: the most memory of its own that this process held, in MB; pages of mapped files do not count."""

    def __enter__(self):
        self.peak, self.process, self.done = 0, psutil.Process(), threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()
        return self

    def watch(self):
        while True:
            found = self.process.memory_info()
            self.peak = max(self.peak, (found.rss - getattr(found, "shared", 0)) / 1e6)
            if self.done.wait(0.02):
                return

    def __exit__(self, *exception):
        self.done.set()
        self.thread.join()


def limit_data(megabytes):
    """Let this process take no more memory of its own than so much beside what it has (Linux)."""
    import resource

    status = Path("/proc/self/status").read_text()
    held = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (held + megabytes * 10**6,) * 2)


def forget(path):
    """Let the system drop what it holds of a file in memory, so that it is read from the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())  # pages that are not on the disk yet would stay
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def train(cutouts, batches):
    """Train a small network for some batches of random cutouts; returns the seconds of an epoch, and 0 MB."""
    from fastai.callback.training import ShortEpochCallback

    import astro_ssl_nb as ssl

    dls = ssl.CutoutDataLoaders.for_properties(cutouts, cutouts[:64], ssl.MAGNITUDES, stretch="bands")
    learn = ssl.property_learner(dls, "resnet10t", cbs=ShortEpochCallback(pct=batches / len(dls.train)))
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
        start = time.perf_counter()
        learn.fit(1)
    return time.perf_counter() - start, 0.0


def embed(cutouts, _):
    """Embed the cutouts; returns seconds, and the MB of the features."""
    import astro_ssl_nb as ssl

    start = time.perf_counter()
    features = ssl.embed(None, cutouts, arch="resnet10t", stretch="bands")
    return time.perf_counter() - start, features.nbytes / 1e6


def main():
    parser = argparse.ArgumentParser(description="Work in a process of its own, with a report as JSON.")
    parser.add_argument("work", choices=["train", "embed"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--batches", type=int, default=16, help="batches of an epoch (default: 16)")
    parser.add_argument("--in-memory", type=int, default=0, help="1 reads the images into memory first")
    parser.add_argument("--cold", type=int, default=0, help="1 drops what the system holds of the images first (Linux)")
    parser.add_argument(
        "--limit-mb", type=int, default=0, help="memory that it may take beside its imports (ulimit -d)"
    )
    options = parser.parse_args()
    from fastai.callback import training  # noqa: F401  (what is imported now does not count against the limit)

    import astro_ssl_nb as ssl
    from astro_ssl_nb import learners, representations  # noqa: F401

    if options.limit_mb:
        limit_data(options.limit_mb)
    cutouts = ssl.CutoutSet.open(options.folder)
    if options.cold:
        forget(options.folder / "images.npy")
    if options.in_memory:
        cutouts = ssl.CutoutSet(cutouts.read(slice(None)), cutouts.catalogue, cutouts.card)
    with AnonymousMemory() as memory:
        seconds, answer_mb = {"train": train, "embed": embed}[options.work](cutouts, options.batches)
    print(json.dumps({"seconds": seconds, "anonymous_mb": memory.peak - answer_mb}))


if __name__ == "__main__":
    main()
