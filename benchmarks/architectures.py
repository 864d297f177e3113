"""Which network to start with: what each has learned after the same time, since that is what a first run has."""

import tempfile
from pathlib import Path

from curves import quiet_curve
from timing import clock, value

import astro_ssl_nb as ssl

TASKS = {"sg": "star/galaxy", "sgq": "star/galaxy/quasar"}


def measure(*, repeat, run, archs, seconds, n_labels, pretrainings):
    """Rows of accuracy a task and network, for the data of a run of the course; none where no run is given."""
    if not run:
        return []
    data = Path(run) / "data"
    pretext = ssl.CutoutSet.open(data / "pretext")
    tasks = {name: ssl.CutoutSet.open(data / name).split((0.5, 0.5), seed=0) for name in TASKS}
    scores, epochs = {(name, arch): [] for name in tasks for arch in archs}, {arch: [] for arch in archs}
    for arch in archs:
        for seed in range(pretrainings):
            learn, learned = pretrained(pretext, arch, seconds, seed)
            epochs[arch].append(learned)
            with tempfile.TemporaryDirectory() as folder:
                options = {"arms": {arch: ssl.save_backbone(learn, Path(folder) / "backbone.safetensors")}}
                options |= {"probes": ("linear",), "sizes": [n_labels], "seeds": repeat}
                for name, (pool, test) in tasks.items():
                    scores[name, arch] += list(quiet_curve(pool, test, **options).accuracy)
    asked = f"{n_labels} labels per class, {seconds} s of pretraining"
    return [
        value(f"{arch}: {TASKS[name]}, {asked}", numbers, "accuracy", epochs=epochs[arch], run=Path(run).name)
        for (name, arch), numbers in scores.items()
    ]


def pretrained(pretext, arch, seconds, seed):
    """A learner that has learned for about so many seconds, and for how many epochs that was."""
    train, valid = pretext.split((0.9, 0.1), seed=seed)

    def learn_for(epochs):
        dls = ssl.CutoutDataLoaders.for_properties(train, valid, ssl.PHOTOMETRY, seed=seed)
        learn = ssl.property_learner(dls, arch)
        with learn.no_bar(), learn.no_logging():
            learn.fit_one_cycle(epochs, 3e-3)
        return learn

    clock(lambda: learn_for(1))  # to warm up
    epochs = max(1, round(seconds / clock(lambda: learn_for(1))))
    return learn_for(epochs), epochs
