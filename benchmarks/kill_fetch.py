"""Kill a fetch with SIGKILL at random moments, many times, and compare what it makes with an undisturbed one.

    python benchmarks/kill_fetch.py --kills 100

Prints how the kills were spread over the phases of a fetch, and how many sets were completed between them; ends with
exit code 1 at the first byte that differs, or the first frame that is asked for although it was stored.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from cutting import record
from tqdm import tqdm

import data_fetch
from data_fetch.folder import WORK
from data_fetch.practice import PracticeArchive

BANDS = "gr"
PHASES = ("queries", "frames", "cutting", "finishing")


def start(url, out):
    # With this seed ten queries find the six fields; with most it takes thirty.
    request = ["pretext", "--n", "1500", "--bands", BANDS, "--size", "16", "--seed", "44"]
    command = [sys.executable, "-m", "data_fetch", *request, "--archive", url, "--out", str(out)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=Path(__file__).parents[1], **quiet)


def same(out, other):
    return all((out / name).read_bytes() == (other / name).read_bytes() for name in ("images.npy", "catalogue.parquet"))


def phase(out):
    """How far a fetch has come, by the files that are there: an index into PHASES."""
    work = out / WORK
    if (work / "images.npy").exists() or (out / "card.json").exists():
        return 3
    if (work / "journal.jsonl").exists() and (work / "journal.jsonl").stat().st_size:
        return 2
    return int(any(out.parent.glob("frames/**/*.bz2")))


def phases(process, out):
    """Yield the phase every few milliseconds until the process ends (files send no event); -1 while it imports."""
    holder = out / WORK / "holder"
    while process.poll() is None:
        begun = holder.exists() and f"process {process.pid} " in holder.read_text()
        yield phase(out) if begun else -1
        time.sleep(0.005)


def fetch_undisturbed(url, out):
    """Returns how long (s) each phase takes."""
    seconds, last, process = np.zeros(len(PHASES)), time.monotonic(), start(url, out)
    for now in phases(process, out):
        if now >= 0:
            seconds[now] += time.monotonic() - last
        last = time.monotonic()
    if process.returncode:
        raise SystemExit("the undisturbed fetch failed")
    return seconds


def kill_in(process, out, wanted, delay):
    """Kill a process so long (s) after it has come to a phase.

    Returns
    -------
    int or None
        The phase that it was in; None if it ended before.
    """
    for now in phases(process, out):
        if now >= wanted:
            try:
                process.wait(delay)
            except subprocess.TimeoutExpired:
                process.kill()
            break
    return None if process.wait() >= 0 else phase(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (%(default)s)")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        with PracticeArchive(record(folder / "sky", BANDS, 6)) as server:
            undisturbed, out = folder / "undisturbed" / "set", folder / "killed" / "set"
            seconds = fetch_undisturbed(server.url, undisturbed)
            print(
                "an undisturbed fetch:", ", ".join(f"{name} {s:.2f} s" for name, s in zip(PHASES, seconds, strict=True))
            )
            kills, sets = Counter(), 0
            bar = tqdm(total=options.kills, unit="kill")
            while kills.total() < options.kills:
                stored = {path.name for path in out.parent.rglob("*.bz2")}
                before = len(server.requests)
                process = start(server.url, out)
                # Left to chance, few kills would come in the short phases. A resumed fetch must first catch up.
                begins, wanted = phase(out), rng.integers(len(PHASES))
                longest = seconds[wanted] if wanted > begins else seconds.sum()
                killed = kill_in(process, out, wanted, rng.uniform(0, longest))
                asked = {request.path.rsplit("/", 1)[1] for request in server.requests[before:]}
                if stored & asked:
                    raise SystemExit(f"after {kills.total()} kills: asked again for {sorted(stored & asked)}")
                if killed is not None:
                    kills[PHASES[killed]] += 1
                    bar.update()
                elif process.returncode:
                    raise SystemExit(f"after {kills.total()} kills: exit code {process.returncode}")
                else:
                    if not same(out, undisturbed) or data_fetch.verify(out):
                        raise SystemExit(f"after {kills.total()} kills: the set differs from the undisturbed one")
                    sets += 1
                    shutil.rmtree(out.parent)
            bar.close()
    spread = ", ".join(f"{kills[name]} in {name}" for name in PHASES)
    print(f"{kills.total()} kills ({spread}), {sets} sets completed between them: the bytes of the undisturbed one")


if __name__ == "__main__":
    main()
