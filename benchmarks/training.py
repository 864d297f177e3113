"""Training speed: our learners against a bare PyTorch loop, and against training from PNG files."""

import copy
import os
import random
import tempfile
from pathlib import Path

import numpy as np
import torch
from blobs import blobs
from timing import clock, compare

import astro_ssl_nb as ssl
from astro_ssl_nb.one_pixel import OnePixelConv2d
from astro_ssl_nb.precision import has_bfloat16

# What fastai's Adam does, in the fastest form that torch has.
ADAM = {"lr": 1e-3, "betas": (0.9, 0.99), "eps": 1e-5, "weight_decay": 0.01, "fused": True}


def measure(*, repeat, images, archs, sizes, stretches):
    """Rows of all tasks, networks, sizes and stretches; `images` gives the training images of an epoch by size."""
    rows = []
    for size in sizes:
        n = images[size]
        train, valid = blobs(n, size), blobs(n // 8, size, seed=1)
        for arch in archs:
            for stretch in stretches:
                for task in ("property_learner", "class_learner"):
                    rows += against_bare_loop(task, train, valid, arch, stretch, repeat)
            rows += against_png_files(train, valid, arch, repeat)
        rows += against_other_settings(train, valid, archs[0], repeat)
    return rows


def make_learner(task, train, valid, arch, stretch):
    if task == "property_learner":
        return ssl.property_learner(
            ssl.CutoutDataLoaders.for_properties(train, valid, ssl.MAGNITUDES, stretch=stretch), arch
        )
    return ssl.class_learner(ssl.CutoutDataLoaders.for_classes(train, valid, stretch=stretch), arch)


def fit(learn):
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-3)


def against_bare_loop(task, train, valid, arch, stretch, repeat):
    """An epoch, validation included, with the same network, batches, stretch, augmentation, precision, optimiser."""
    learn = make_learner(task, train, valid, arch, stretch)
    loop = BareLoop(learn)
    size = train.images.shape[-1]
    return compare(
        f"{task}: {arch}, {size} px, {stretch}",
        {"learner": lambda: fit(learn), "bare loop": loop.epoch},
        repeat=repeat,
        amount=len(train),
        unit="images/s",
        at_least={"bare loop": 0.97},
    )


def against_other_settings(train, valid, arch, repeat):
    """The bare loop as our learners train, against torch's convolutions, another layout, one thread, half precision.

    On a processor half precision has no limit to keep: its backward passes were seen to leave NaN in weights.
    """
    learn, threads = make_learner("property_learner", train, valid, arch, "rgb"), torch.get_num_threads()
    ours, contiguous = BareLoop(learn), BareLoop(learn, layout=torch.contiguous_format)
    half, plain = BareLoop(learn, autocast=True), BareLoop(learn)
    for module in plain.model.modules():
        if isinstance(module, OnePixelConv2d):
            module.__class__ = torch.nn.Conv2d

    def one_thread():
        torch.set_num_threads(1)
        try:
            return ours.epoch()
        finally:
            torch.set_num_threads(threads)

    return compare(
        f"settings of training: {arch}, {train.images.shape[-1]} px, rgb",
        {
            "ours": ours.epoch,
            "convolutions of torch": plain.epoch,
            "contiguous": contiguous.epoch,
            "one thread": one_thread,
            "bfloat16": half.epoch,
        },
        repeat=repeat,
        amount=len(train),
        unit="images/s",
        at_least={"convolutions of torch": 0.97, "contiguous": 0.97, "one thread": 0.97},
    )


class BareLoop:
    """The epoch of a learner written out, on tensors that are in the memory of the device."""

    def __init__(self, learn, *, layout=torch.preserve_format, autocast=None):
        self.dls = learn.dls
        self.model = copy.deepcopy(learn.model).to(self.dls.device, memory_format=layout)
        self.loss = learn.loss_func
        self.optimiser = torch.optim.AdamW(self.model.parameters(), **ADAM)
        self.rng = random.Random(0)
        self.autocast = has_bfloat16(self.dls.device) if autocast is None else autocast
        self.parts = [
            (torch.tensor(loader.cutouts.images).to(self.dls.device), loader.targets.to(self.dls.device), loader.bs)
            for loader in self.dls.loaders
        ]

    def epoch(self):
        (images, targets, bs), (valid_images, valid_targets, valid_bs) = self.parts
        total = torch.zeros((), device=images.device)
        self.model.train()
        order = torch.randperm(len(images)).to(images.device)
        for rows in order[: len(order) // bs * bs].split(bs):
            x = self.dls.train.augment(self.dls.stretch(images[rows]), self.rng)
            total += self.step(x, targets[rows])
        self.model.eval()
        with torch.no_grad():
            for x, target in zip(valid_images.split(valid_bs), valid_targets.split(valid_bs), strict=True):
                total += self.loss(self.model(self.dls.stretch(x)), target)
        return None if total.isfinite() else float("nan")  # waits for the device

    def step(self, x, target):
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.autocast):
            prediction = self.model(x)
        loss = self.loss(prediction.float(), target)
        loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad()
        return loss.detach()


def against_png_files(train, valid, arch, repeat):
    """The same network the way most do it: 8-bit PNG files, opened one by one."""
    learn = make_learner("property_learner", train, valid, arch, "rgb")
    with tempfile.TemporaryDirectory() as folder:
        files = [write_png(part, Path(folder) / name) for part, name in ((train, "train"), (valid, "valid"))]
        targets = [loader.targets.numpy() for loader in learn.dls.loaders]
        sides = {"learner": lambda: fit(learn), "fastai DataBlock over PNG": fastest(data_block, files, targets, learn)}
        try:
            sides["Hugging Face datasets over PNG"] = fastest(hugging_face, files, targets, learn)
        except ImportError:  # `pip install .[test]` has it
            pass
        return compare(
            f"property_learner: {arch}, {train.images.shape[-1]} px, rgb",
            sides,
            repeat=repeat,
            amount=len(train),
            unit="images/s",
            at_least={"fastai DataBlock over PNG": 1.5},
            workers={name: side.workers for name, side in sides.items() if hasattr(side, "workers")},
        )


def fastest(make, files, targets, learn):
    """An epoch of the peer with the number of worker processes that suits it best."""
    epochs = {workers: make(files, targets, learn, workers) for workers in (0, os.cpu_count())}
    for epoch in epochs.values():
        epoch()  # to warm up
    best = min(epochs, key=lambda workers: clock(epochs[workers]))
    epochs[best].workers = best
    return epochs[best]


def write_png(cutouts, folder):
    from PIL import Image

    folder.mkdir()
    pictures = ssl.figures.rgb(cutouts.images, cutouts.bands)
    paths = [folder / f"{k}.png" for k in range(len(cutouts))]
    for path, picture in zip(paths, (pictures * 255).astype(np.uint8), strict=True):
        Image.fromarray(picture).save(path)
    return paths


def data_block(files, targets, learn, workers):
    """An epoch of fastai's own DataBlock, with its own turns and flips."""
    import pandas as pd
    from fastai.vision.all import (
        ColReader,
        DataBlock,
        Dihedral,
        ImageBlock,
        IndexSplitter,
        L1LossFlat,
        Learner,
        Normalize,
        RegressionBlock,
        imagenet_stats,
    )

    table = pd.DataFrame(np.concatenate(targets), columns=list("ugriz"))
    table["file"] = [str(path) for part in files for path in part]
    block = DataBlock(
        (ImageBlock, RegressionBlock(n_out=5)),
        get_x=ColReader("file"),
        get_y=ColReader(list("ugriz")),
        splitter=IndexSplitter(range(len(files[0]), len(table))),
        batch_tfms=[Dihedral(), Normalize.from_stats(*imagenet_stats)],
    )
    dls = block.dataloaders(table, bs=learn.dls.bs, num_workers=workers, device=learn.dls.device)
    other = Learner(dls, copy.deepcopy(learn.model), loss_func=L1LossFlat())
    return lambda: fit(other)


def hugging_face(files, targets, learn, workers):
    """An epoch of the bare loop over torch DataLoaders of Hugging Face datasets, which decode the files."""
    from datasets import Dataset, Image
    from torch.utils.data import DataLoader

    loop, (train, valid) = BareLoop(learn), learn.dls.loaders
    device = learn.dls.device

    def tensors(rows):
        rows["image"] = [torch.from_numpy(np.array(picture)).permute(2, 0, 1) for picture in rows["image"]]
        rows["target"] = [torch.tensor(target) for target in rows["target"]]
        return rows

    loaders = []
    for paths, values, ours in zip(files, targets, (train, valid), strict=True):
        table = Dataset.from_dict({"image": [str(path) for path in paths], "target": values.tolist()})
        table = table.cast_column("image", Image()).with_transform(tensors)
        training = ours is train
        loaders.append(
            DataLoader(
                table, ours.bs, training, drop_last=training, num_workers=workers, persistent_workers=workers > 0
            )
        )

    def epoch():
        loop.model.train()
        for batch in loaders[0]:
            x = batch["image"].to(device).float() / 127.5 - 1
            loop.step(train.augment(x, loop.rng), batch["target"].to(device))
        loop.model.eval()
        with torch.no_grad():
            for batch in loaders[1]:
                loop.loss(loop.model(batch["image"].to(device).float() / 127.5 - 1), batch["target"].to(device))

    return epoch
