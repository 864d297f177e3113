"""Embedding speed: `embed` from disk against a bare loop over a tensor in memory; memory against the number."""

import tempfile
from pathlib import Path

import torch
from blobs import blobs, sparse_set
from children import child
from timing import compare

import astro_ssl_nb as ssl


def measure(*, repeat, n, archs, sizes, few, many):
    """Rows of all networks and sizes, and of the memory that embedding `few` and `many` cutouts takes."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for size in sizes:
            for arch in archs:
                rows += against_bare_loop(folder / f"{arch}-{size}", arch, n, size, repeat)
        sets = {count: sparse_set(folder / str(count), count, 16) for count in (many, few)}
        sides = {
            f"{count:,} cutouts": lambda path=path: child("embed", path)["anonymous_mb"] for count, path in sets.items()
        }
        rows += compare(
            f"embed: memory beside the features, {many:,} cutouts over {few:,}",
            sides,
            repeat=repeat,
            unit="MB",
            at_most={f"{few:,} cutouts": 1.1},
            warm=False,
        )
    return rows


def against_bare_loop(folder, arch, n, size, repeat):
    cutouts = blobs(n, size)
    dls = ssl.CutoutDataLoaders.for_properties(cutouts, cutouts[:64], ssl.MAGNITUDES)
    weights = ssl.save_backbone(ssl.property_learner(dls, arch), folder / "backbone.safetensors")
    stored = ssl.CutoutSet.open(cutouts.save(folder / "cutouts"))
    backbone, card = ssl.load_backbone(weights)
    backbone = backbone.eval().to(dls.device, memory_format=torch.channels_last)
    images = torch.tensor(cutouts.images).to(dls.device)

    def bare_loop():
        with torch.inference_mode():
            torch.cat([backbone(card["stretch"](batch)).cpu() for batch in images.split(256)])

    return compare(
        f"embed: {arch}, {size} px, rgb",
        {"embed from disk": lambda: ssl.embed(weights, stored), "bare loop": bare_loop},
        repeat=repeat,
        amount=n,
        unit="images/s",
        at_least={"bare loop": 0.97},
    )
