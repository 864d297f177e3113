"""Training speed as a ratio: a `property_learner` against a bare PyTorch loop on tensors already in memory.

    python benchmarks/training.py

Both sides have the same network, batches, stretch, augmentation, optimiser and number of threads, and take turns in one
process, so that the ratio holds on a machine whose speed drifts.
"""

import argparse
import random
import statistics
import time

import numpy as np
import torch
from astropy.table import Table

import astro_ssl_nb as ssl
from astro_ssl_nb.dataloaders import augment


def practice_blobs(n, size):
    """Noise and a blob a cutout: what is in the images does not matter to their speed."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    magnitude = rng.uniform(16, 21, n)
    blob = np.exp(-(x**2 + y**2) / 8) / (8 * np.pi)
    images = 10 ** (-0.4 * (magnitude - 22.5))[:, None, None, None] * blob + rng.normal(0, 0.02, (n, 5, size, size))
    return ssl.CutoutSet.from_arrays(images, Table({f"modelMag_{band}": magnitude for band in "ugriz"}))


def fit_learner(dls, arch):
    learn = ssl.property_learner(dls, arch, metrics=[])
    start = time.perf_counter()
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-3)
    return time.perf_counter() - start


def fit_bare(dls, arch):
    """The same epoch, validation included, written out."""
    model = ssl.property_learner(dls, arch).model
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3)
    loaders = [(torch.from_numpy(dl.cutouts.images), dl.targets, dl.bs, dl is dls.train) for dl in dls.loaders]
    rng = random.Random(0)
    start = time.perf_counter()
    for images, targets, bs, train in loaders:
        model.train(train)
        order = torch.randperm(len(images)) if train else torch.arange(len(images))
        for rows in order.split(bs):
            if train and len(rows) < bs:
                break
            with torch.set_grad_enabled(train):
                x = dls.stretch(images[rows])
                loss = ssl.masked_l1(model(augment(x, rng) if train else x), targets[rows])
            if train:
                loss.backward()
                optimiser.step()
                optimiser.zero_grad()
            loss.item()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default="resnet10t", help="timm architecture (default: resnet10t)")
    parser.add_argument("--n", type=int, default=2048, help="training images (default: 2048)")
    parser.add_argument("--size", type=int, default=32, help="pixels a side (default: 32)")
    parser.add_argument("--stretch", default="rgb", help="rgb or bands (default: rgb)")
    parser.add_argument("--repeat", type=int, default=5, help="pairs of runs (default: 5)")
    options = parser.parse_args()
    train, valid = practice_blobs(options.n, options.size), practice_blobs(256, options.size)
    dls = ssl.CutoutDataLoaders.for_properties(train, valid, ssl.MAGNITUDES, stretch=options.stretch)
    fit_bare(dls, options.arch), fit_learner(dls, options.arch)  # to warm up
    pairs = [(fit_bare(dls, options.arch), fit_learner(dls, options.arch)) for _ in range(options.repeat)]
    ratios = sorted(bare / learner for bare, learner in pairs)
    speeds = [options.n / statistics.median(side) for side in zip(*pairs, strict=True)]
    threads = torch.get_num_threads()
    print(f"{options.arch}, {options.size} px, {options.stretch}, {threads} threads, torch {torch.__version__}")
    print(f"bare loop {speeds[0]:.0f} images/s, learner {speeds[1]:.0f} images/s")
    print(f"learner / bare: median {statistics.median(ratios):.3f}, range {ratios[0]:.3f} to {ratios[-1]:.3f}")


if __name__ == "__main__":
    main()
