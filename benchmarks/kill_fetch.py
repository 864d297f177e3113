"""Kill a fetch with SIGKILL at random moments, many times, and compare what it makes with an undisturbed one.

    python benchmarks/kill_fetch.py --kills 100

Prints how many sets were completed between the kills; ends with exit code 1 at the first byte that differs, or the
first frame that is asked for although it was stored.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

import data_fetch
from data_fetch.practice import PracticeArchive, RecordedSky, SimulatedSky

BANDS = "gr"


def record(folder):
    """Six fields of the simulated sky as files, so that frames need not be rendered at each request."""
    sky = SimulatedSky(n_runs=1, fields_per_camcol=1)
    for at in sky.observations():
        for band in BANDS:
            name = f"frame-{band}-{at.run:06d}-{at.camcol}-{at.field:04d}.fits.bz2"
            (folder / name).write_bytes(sky.frame_bytes(at.run, at.camcol, at.field, band))
    return RecordedSky(folder, sky.tables()["PhotoObj"])


def start(url, out):
    command = [sys.executable, "-m", "data_fetch", "pretext", "--n", "1500", "--bands", BANDS, "--size", "16"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([*command, "--archive", url, "--out", str(out)], cwd=Path(__file__).parents[1], **quiet)


def same(out, other):
    return all((out / name).read_bytes() == (other / name).read_bytes() for name in ("images.npy", "catalogue.parquet"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (%(default)s)")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "sky").mkdir()
        with PracticeArchive(record(folder / "sky")) as server:
            begun = time.monotonic()
            if start(server.url, folder / "undisturbed" / "set").wait():
                raise SystemExit("the undisturbed fetch failed")
            seconds = time.monotonic() - begun
            kills = sets = 0
            out = folder / "killed" / "set"
            bar = tqdm(total=options.kills, unit="kill")
            while kills < options.kills:
                stored = {path.name for path in out.parent.rglob("*.bz2")}
                before = len(server.requests)
                process = start(server.url, out)
                try:
                    process.wait(rng.uniform(0, seconds))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    kills += 1
                    bar.update()
                asked = {request.path.rsplit("/", 1)[1] for request in server.requests[before:]}
                if stored & asked:
                    raise SystemExit(f"after {kills} kills: asked again for {sorted(stored & asked)}")
                if process.returncode == 0:
                    if not same(out, folder / "undisturbed" / "set") or data_fetch.verify(out):
                        raise SystemExit(f"after {kills} kills: the set differs from the undisturbed one")
                    sets += 1
                    shutil.rmtree(out.parent)
                elif process.returncode > 0:
                    raise SystemExit(f"after {kills} kills: the fetch failed with exit code {process.returncode}")
    print(f"{kills} kills, {sets} sets completed between them, all the same bytes as the undisturbed one")


if __name__ == "__main__":
    main()
