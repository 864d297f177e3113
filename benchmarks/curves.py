"""Label curves: frozen probes against one pass for the features, fine-tuning against its bare loops."""

import contextlib
import io
import random
import tempfile
from pathlib import Path

import numpy as np
import torch
from blobs import blobs
from timing import compare
from torch import nn
from training import ADAM

import astro_ssl_nb as ssl
from astro_ssl_nb.augmentations import turn_and_shift
from astro_ssl_nb.finetuning import BATCH, EPOCHS, KEPT, STEPS
from astro_ssl_nb.optimiser import stages
from astro_ssl_nb.precision import has_bfloat16
from astro_ssl_nb.probes import as_linear_layer, linear_probe, with_views


def measure(*, repeat, n_train, n_test, arch, sizes, seeds, finetune_sizes, finetune_seeds):
    """Rows of frozen probes for each number in `n_test`, and of fine-tuning from random and pretrained weights."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        train = blobs(n_train, 32)
        dls = ssl.CutoutDataLoaders.for_properties(train, train[:64], ssl.MAGNITUDES)
        weights = ssl.save_backbone(ssl.property_learner(dls, arch), Path(folder) / "backbone.safetensors")
        for n in n_test:
            rows += frozen_probes(weights, train, blobs(n, 32, seed=1), arch, sizes, seeds, repeat)
        test = blobs(n_test[0], 32, seed=1)
        for name, start in (("scratch", None), ("pretext", weights)):
            rows += fine_tuning(name, start, train, test, arch, finetune_sizes, finetune_seeds, repeat)
    return rows


def quiet_curve(train, test, **options):
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        return ssl.label_curve(train, test, **options)


def frozen_probes(weights, train, test, arch, sizes, seeds, repeat):
    def feature_pass():
        for part in (train, test):
            ssl.embed(weights, part)

    options = {"arms": {"pretext": weights}, "probes": ("linear", "knn"), "sizes": sizes, "seeds": seeds}
    return compare(
        f"linear and kNN probes, {len(sizes) * seeds} subsets, features included: {arch}, {len(test):,} test cutouts",
        {"label_curve": lambda: quiet_curve(train, test, **options), "feature pass": feature_pass},
        repeat=repeat,
        at_most={"feature pass": 2.0},
    )


def fine_tuning(name, weights, train, test, arch, sizes, seeds, repeat):
    labels = train.labels("class")
    subsets = [(train[ssl.labelled_subset(labels, size, seed)], size, seed) for size in sizes for seed in range(seeds)]
    options = {"arms": {name: weights}, "probes": ("finetune",), "sizes": sizes, "seeds": seeds, "arch": arch}

    def bare_loops():
        for labelled, size, seed in subsets:
            bare_fine_tuning(weights, train, labelled, test, arch, size, seed)

    return compare(
        f"{len(subsets)} fine-tunings of {arch}, {name}, predictions for {len(test):,} test cutouts included",
        {"label_curve": lambda: quiet_curve(train, test, **options), "bare loops": bare_loops},
        repeat=repeat,
        at_most={"bare loops": 1.1},
    )


def bare_fine_tuning(weights, train, labelled, test, arch, size, seed):
    """What `few_shot_learner` does, written out: the same network, steps, batches, frozen layers; then predictions."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rng, names = random.Random(seed), labelled.labels("class")
    if weights is None:
        stretch = ssl.Stretch.fit(train, "rgb")
        backbone = ssl.create_backbone(arch, stretch.n_channels, seed=seed).to(device)
    else:
        backbone, card = ssl.load_backbone(weights)
        stretch, backbone = card["stretch"], backbone.to(device)
    x = stretch(torch.tensor(labelled.images).to(device))
    y = torch.from_numpy(np.unique(names, return_inverse=True)[1]).to(device)
    pool = torch.from_numpy(np.resize(np.arange(len(x)), STEPS * BATCH)).to(device)
    head = nn.Linear(backbone.num_features, 2)
    if weights is None:
        head = nn.Sequential(nn.BatchNorm1d(backbone.num_features), nn.Dropout(0.25), head)
    else:
        with torch.inference_mode():
            features = backbone.eval()(x).cpu().numpy()
            views = torch.cat([backbone(turn_and_shift(x[rows], rng)) for rows in pool.split(BATCH)]).cpu().numpy()
            probe = linear_probe(size, seed).fit(features, names)
            probe = with_views(probe, features, names, views, names[pool.cpu()])
        weight, bias = (torch.from_numpy(part).float() for part in as_linear_layer(probe))
        head.load_state_dict({"weight": weight, "bias": bias})
    model = nn.Sequential(backbone, head).to(device, memory_format=torch.channels_last)
    model[1].requires_grad_(weights is None)  # above a pretrained network the probe stays as it is
    before = [p.detach().clone() for p in backbone.parameters()]
    optimiser = torch.optim.AdamW(model.parameters(), **ADAM)
    model.train(weights is None)  # a pretrained network keeps the statistics of its norms
    norms = {id(p) for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) for p in m.parameters()}
    early = [p for group in stages(model)[:-2] for p in group if id(p) not in norms] if weights else []
    for epoch in range(EPOCHS):
        for p in early:
            p.requires_grad_(epoch > 0)
        for rows in pool[torch.randperm(len(pool)).to(device)].split(BATCH):
            with torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device)):
                scores = model(turn_and_shift(x[rows], rng))
            nn.functional.cross_entropy(scores.float(), y[rows]).backward()
            optimiser.step()
            optimiser.zero_grad()
    if weights is not None:  # a part of the way back
        with torch.no_grad():
            for p, old in zip(backbone.parameters(), before, strict=True):
                p.lerp_(old, 1 - KEPT)
    model.eval()
    images = torch.tensor(test.images).to(device)
    with torch.inference_mode():
        return torch.cat([model(stretch(batch)).softmax(1).cpu() for batch in images.split(256)])
