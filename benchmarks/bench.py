"""Every measurement of the package as a ratio against a peer or a limit, in one command.

    python benchmarks/bench.py --out runs/bench.json [--quick] [--only training maps]

prints the ratios and writes them as JSON, a section at a time: a run that is interrupted goes on where it was when it
is started again with the same options. The sides of a ratio take turns. Run it on a machine that does nothing else.
"""

import argparse
import hashlib
import importlib
import importlib.metadata
import json
import os
import platform
import sys
import time
from pathlib import Path

from timing import meets

from astro_ssl_nb.files import whole_file

REPOSITORY = Path(__file__).resolve().parents[1]
RUNS = REPOSITORY / "runs"
PACKAGES = (
    "torch",
    "torchvision",
    "fastai",
    "timm",
    "numpy",
    "scikit-learn",
    "astropy",
    "pandas",
    "pillow",
    "openTSNE",
)
PEERS = ("datasets", "faiss-cpu")
# The arguments of `measure` of each section, a module beside this file.
FULL = {
    "training": {
        "images": {32: 4096, 64: 1024},
        "archs": ("resnet10t", "resnet18"),
        "sizes": (32, 64),
        "stretches": ("rgb", "bands"),
    },
    "embedding": {"n": 8192, "archs": ("resnet10t", "resnet18"), "sizes": (32,), "few": 10_000, "many": 100_000},
    "reading": {
        "n": 4096,
        "few": 20_000,
        "many": 200_000,
        "limited": 250_000,
        "limit_mb": 1000,
        "batches": 64,
        "rows_to_open": 1_000_000,
    },
    "curves": {
        "n_train": 1280,
        "n_test": (640, 10_000),
        "arch": "resnet18",
        "sizes": (5, 10, 25, 60),
        "seeds": 5,
        "finetune_sizes": (10,),
        "finetune_seeds": 2,
    },
    "maps": {"n_map": 5000, "n_map_once": 50_000, "n_neighbours": 1_000_000, "queries": 1000},
    "cutting": {"n": 300, "fields": 12, "bands": "ugriz", "few": 1000, "many": 10_000},
    "architectures": {
        "archs": ("resnet10t", "resnet14t", "resnet18", "regnetx_002", "mobilenetv3_small_100", "convnext_atto"),
        "seconds": 45,
        "n_labels": 10,
        "pretrainings": 2,
    },
    "starting": {},
}
QUICK = {
    "training": {"images": {32: 1024}, "archs": ("resnet10t",), "sizes": (32,), "stretches": ("rgb", "bands")},
    "embedding": {"n": 2048, "archs": ("resnet10t",), "sizes": (32,), "few": 4000, "many": 20_000},
    "reading": {
        "n": 1024,
        "few": 20_000,
        "many": 200_000,
        "limited": 100_000,
        "limit_mb": 1000,
        "batches": 16,
        "rows_to_open": 1_000_000,
    },
    "curves": {
        "n_train": 400,
        "n_test": (640,),
        "arch": "resnet10t",
        "sizes": (5, 25),
        "seeds": 2,
        "finetune_sizes": (5,),
        "finetune_seeds": 1,
    },
    "maps": {"n_map": 1000, "n_map_once": None, "n_neighbours": 50_000, "queries": 500},
    "cutting": {"n": 300, "fields": 3, "bands": "ugriz", "few": 1000, "many": 4000},
    "architectures": {"archs": ("resnet10t", "resnet18"), "seconds": 10, "n_labels": 10, "pretrainings": 1},
    "starting": {},
}
OF_A_RUN = ("architectures", "starting")  # they look at a run of the course, where one is given


def run_sections(plan, out, *, repeat=5, run=None):
    """Measure the sections of a plan, write them to a file as they finish, and return what the file holds.

    Sections that the file has already, measured with the same arguments, versions and sources on the same machine, are
    kept. Where any of these is another and the plan would not measure all sections of the file anew, nothing is run.
    """
    found = {"machine": machine(), "versions": versions(), "sections": {}}
    before = json.loads(out.read_text()) if out.exists() else {}
    if all(before.get(key) == found[key] for key in ("machine", "versions")):
        found["sections"] = before["sections"]
    elif lost := sorted(set(before.get("sections", {})) - set(plan)):
        kept = ", ".join(lost)
        sys.exit(f"{out} has {kept} of other versions or another machine: measure all, or give another --out")
    for name, arguments in plan.items():
        extra = {"run": run} if name in OF_A_RUN else {}
        options = json.loads(json.dumps({**arguments, "repeat": repeat, **extra}))  # as they come back from the file
        if found["sections"].get(name, {}).get("options") == options:
            print(f"{name}: measured before with the same options", flush=True)
            continue
        load, start = os.getloadavg()[0], time.perf_counter()
        rows = importlib.import_module(name).measure(repeat=repeat, **arguments, **extra)
        found["sections"][name] = {
            "options": options,
            "load_before": round(load, 2),
            "seconds": round(time.perf_counter() - start, 1),
            "rows": [{**row, "met": meets(row)} for row in rows],
        }
        for row in rows:
            print(in_words(row), flush=True)
        write(found, out)
    return found


def machine():
    """What speeds depend on."""
    import psutil
    import torch

    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        model = f"{names[0]} ({model})" if names else model
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions():
    """Of Python, of what is measured, and of the peers that are installed."""
    found = {"python": platform.python_version(), "sources": sources()}
    for name in (*PACKAGES, *PEERS):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def sources():
    """A digest of the code that is measured and of that which measures it."""
    folders = (REPOSITORY / name for name in ("astro_ssl_nb", "data_fetch", "benchmarks"))
    code = [path.read_bytes() for folder in folders for path in sorted(folder.rglob("*.py"))]
    return hashlib.sha256(b"".join(code)).hexdigest()[:12]


def write(found, out):
    with whole_file(out) as file:
        file.write((json.dumps(found, indent=1, allow_nan=False) + "\n").encode())


def in_words(row):
    mark = {True: "ok  ", False: "MISS", None: "    "}[meets(row)]
    against = f" / {row['peer']}" if "peer" in row else f" {row['unit']}"
    limits = [f"{sign} {row[key]:g}" for key, sign in (("at_least", ">="), ("at_most", "<=")) if row[key] is not None]
    numbers = f"{row['median']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
    return f"{mark} {row['what']}: {row.get('ours', '')}{against} {numbers} {' '.join(limits)}"


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Every measurement of the package as a ratio, in one command.")
    parser.add_argument("--out", type=Path, default=RUNS / "bench.json", help="the file (default: runs/bench.json)")
    parser.add_argument("--quick", action="store_true", help="small sizes: a few minutes instead of hours")
    parser.add_argument("--only", nargs="+", choices=list(FULL), help="sections to measure (default: all)")
    parser.add_argument("--repeat", type=int, default=5, help="turns of each side (default: 5)")
    parser.add_argument(
        "--run", type=Path, help="folder of a run of the course, whose data and times are to be looked at"
    )
    options = parser.parse_args(arguments)
    plan = QUICK if options.quick else FULL
    plan = {name: plan[name] for name in options.only or plan}
    run_sections(plan, options.out, repeat=options.repeat, run=options.run and str(options.run))


if __name__ == "__main__":
    main()
