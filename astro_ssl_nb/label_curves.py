"""The few-shot protocol: scores on a held-out test set against the number of labels, for arms and probes."""

import time
from collections.abc import Mapping
from operator import index
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from torch import cuda
from tqdm import tqdm

from astro_ssl_nb.arms import Arm
from astro_ssl_nb.backbones import read_card
from astro_ssl_nb.caches import Cache
from astro_ssl_nb.label_draws import check_draws, checked_labels, labelled_subset
from astro_ssl_nb.scores import classification_scores, outcomes

PROBES = ("linear", "knn", "finetune")
# Probes side by side at most, however many cores there are: a network that is fine-tuned was seen to take up to 1.6 GB.
WORKERS = 4


class Run(NamedTuple):
    """One point of a curve: a probe on an arm, with some labels per class, drawn by a seed."""

    arm: str
    probe: str
    n_labels: int
    seed: int


def label_curve(
    train,
    test,
    label="class",
    *,
    arms,
    probes=PROBES,
    sizes=(5, 10, 25, 60),
    seeds=5,
    arch=None,
    stretch=None,
    cache=None,
):
    """Train every arm with every probe on few labels and score it on the test set.

    For each seed, nested subsets of `sizes` labels per class are drawn anew from `train`; all arms and probes get the
    same subsets. What a probe has to choose (regularisation, number of neighbours) it chooses by cross-validation
    within the subset. The test set is looked at once a run, for the scores.

    Parameters
    ----------
    train, test : CutoutSet
        Disjoint parts, from `CutoutSet.split`.
    label : str, default="class"
    arms : dict of name -> weights
        The path of a saved backbone, "imagenet", None for random weights (random features where the backbone stays
        frozen, training from scratch where it does not), or a list of Property: the classifier that sees only those
        catalogue columns, and no image. A pair (weights, list of Property) is two classifiers, of features and of
        columns, whose answers are averaged. "apertures" is a classifier of columns that are measured on the pixels
        themselves (`aperture_magnitudes`): what a network has above it, it did not get from light within circles.
    probes : sequence of {"linear", "knn", "finetune"}
        Logistic regression and nearest neighbours on frozen features, and training of the whole network. Arms with
        columns have frozen probes only.
    sizes : sequence of int
        Labels per class.
    seeds : int, default=5
    arch, stretch : str, optional
        Architecture of arms that start at random, and stretch ("rgb" or "bands") of those that bring none: by default
        those of the saved backbones among the arms, so that like is compared with like, else resnet18 and "rgb". That
        of "imagenet" is "rgb" where no stretch is given.
    cache : path-like, optional
        A folder that keeps features and finished runs: the same call after an interruption goes on where it was.

    Returns
    -------
    DataFrame, a row per run
        `arm, probe, n_labels` (a class)`, seed, accuracy, balanced_accuracy, macro_f1, ece, brier, seconds, outcomes`:
        expected calibration error in 10 bins of confidence (Guo et al. 2017, arXiv:1706.04599), Brier score from 0 to
        1, and which test objects were right, class by class, from which `paired_difference` sees how far another test
        set might move a score.

    Raises
    ------
    ValueError, KeyError, FileNotFoundError
        If a probe is unknown, a class has too few objects or the label column is missing; if there is one class, or the
        test set has classes that the training set lacks, or the same objects; if bands or pixel scales differ; if all
        seeds would draw the same labels; if an arm starts at random or measures apertures, the saved backbones differ,
        and `arch` or `stretch` is not given; if there is no such backbone, or nothing to run.

    Warns
    -----
    UserWarning
        If so many of a class are drawn that different seeds draw mostly the same.

    Examples
    --------
    Of a catalogue column alone; with images, an arm is the path of a backbone, "imagenet" or None.

    >>> from astropy.table import Table
    >>> from astro_ssl_nb import SIZES, CutoutSet
    >>> radius = np.random.default_rng(0).lognormal(np.tile([0.2, 1.0], 60), 0.3)
    >>> table = Table({"objid": np.arange(120), "class": ["STAR", "GALAXY"] * 60, "petroR50_r": radius})
    >>> train, test = CutoutSet.from_arrays(np.zeros((120, 1, 8, 8)), table, bands="r").split((0.5, 0.5))
    >>> curve = label_curve(train, test, arms={"size": SIZES[:1]}, probes=("linear",), sizes=(5,), seeds=2)
    >>> curve[["arm", "probe", "n_labels", "seed"]].values.tolist(), bool(curve.accuracy.min() > 0.7)
    ([['size', 'linear', 5, 0], ['size', 'linear', 5, 1]], True)
    """
    _check_probes(probes)
    if not isinstance(arms, Mapping):
        raise ValueError(f"arms={arms!r}: give a dict of name -> weights, such as {{'imagenet': 'imagenet'}}")
    if np.ndim(sizes) != 1 or np.ndim(seeds) != 0:
        raise ValueError(f"sizes={sizes!r}, seeds={seeds!r}: give a sequence of sizes and a number of seeds")
    probes, sizes = list(dict.fromkeys(probes)), list(dict.fromkeys(map(index, sizes)))
    if not arms or not probes or not sizes or seeds < 1:
        raise ValueError(f"nothing to run: {len(arms)} arms, probes {probes}, sizes {sizes}, {seeds} seeds")
    y_train, y_test = checked_labels(train, test, label)
    subsets = {(size, seed): labelled_subset(y_train, size, seed) for seed in range(seeds) for size in sizes}
    check_draws(y_train, sizes, seeds)
    cache, classes = Cache(cache), np.unique(y_train)
    arms = _arms(arms, train, test, label, arch, stretch, cache)
    runs = [
        Run(name, probe, size, seed)
        for name, arm in arms.items()
        for probe in probes
        if probe != "finetune" or arm.trainable
        for size, seed in subsets
    ]
    if not runs:
        raise ValueError("nothing to run: arms with columns have frozen probes only, 'linear' and 'knn'")
    identities = {run: (arms[run.arm].identity, *run[1:]) for run in runs}
    results = {run: cache.get(identity) for run, identity in identities.items()}
    left = [run for run in runs if results[run] is None]
    with tqdm(total=len(runs), initial=len(runs) - len(left), desc="label curve", unit="run") as bar:
        for some, workers in _batches(left, arms):
            tasks = [
                arms[run.arm].task(run.probe, subsets[run.n_labels, run.seed], run.n_labels, run.seed) for run in some
            ]
            for run, found in zip(some, _side_by_side(tasks, y_test, classes, workers), strict=True):
                results[run] = cache.keep(identities[run], found)
                bar.update()
                bar.set_postfix_str(f"{run.arm} {run.probe} {run.n_labels}: {results[run]['accuracy']:.3f}")
    return pd.DataFrame([run._asdict() | results[run] for run in runs])


def _batches(runs, arms):
    """Runs that are done together, and how many at once: those that share features, and in the end the fine-tunings."""
    for name, arm in arms.items():
        mine = [run for run in runs if run.arm == name and run.probe != "finetune"]
        for seed in [None] if arm.fixed else sorted({run.seed for run in mine}):  # random features are those of a seed
            yield [run for run in mine if seed in (None, run.seed)], WORKERS
        arm.forget()
    yield [run for run in runs if run.probe == "finetune"], 1 if cuda.is_available() else WORKERS


def few_shot_probabilities(
    train, test, label="class", *, weights, probe="linear", size, seed=0, arch=None, stretch=None, cache=None
):
    """What one run of `label_curve` says about each test object.

    Parameters
    ----------
    train, test, label, arch, stretch, cache
        As in `label_curve`, whose features in the cache are used. Only here there is no other arm to take `arch` and
        `stretch` from: an arm that starts at random needs them named.
    weights : what `label_curve` takes as an arm
    probe : {"linear", "knn", "finetune"}, default="linear"
    size : int
        Labels per class.
    seed : int, default=0

    Returns
    -------
    DataFrame of shape (len(test), classes)
        The probability of each class; `.idxmax(axis=1)` is the predicted one.

    Raises
    ------
    ValueError, KeyError, FileNotFoundError
        As `label_curve`; also if columns are to be fine-tuned.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_ssl_nb import SIZES, CutoutSet
    >>> table = Table({"objid": np.arange(40), "class": ["STAR", "GALAXY"] * 20, "petroR50_r": [1.0, 3.0] * 20})
    >>> train, test = CutoutSet.from_arrays(np.zeros((40, 1, 8, 8)), table, bands="r").split((0.5, 0.5))
    >>> few_shot_probabilities(train, test, weights=SIZES[:1], size=5).columns.tolist()
    ['GALAXY', 'STAR']
    """
    _check_probes((probe,))
    subset = labelled_subset(checked_labels(train, test, label)[0], size, seed)
    (arm,) = _arms({"": weights}, train, test, label, arch, stretch, Cache(cache)).values()
    return pd.DataFrame(_probabilities(*arm.task(probe, subset, size, seed)), columns=arm.classes)


def _check_probes(probes):
    if isinstance(probes, str):
        raise ValueError(f"probes={probes!r} is text: give a sequence, as ({probes!r},)")
    unknown = [probe for probe in probes if probe not in PROBES]
    if unknown:
        raise ValueError(f"unknown probe {unknown}: use {', '.join(PROBES)}")


def _arms(specs, train, test, label, arch, stretch, cache):
    """The arms by name; what nothing says of one is as in the saved backbones among the others."""
    like_arch, like_stretch = _like_the_backbones(specs.values(), arch, stretch)
    return {
        name: Arm(
            spec,
            train,
            test,
            label,
            arch=like_arch,
            # ImageNet has pictures of three colours: it looks at bands only where it is told to.
            stretch=stretch or ("rgb" if _start(spec) == "imagenet" else like_stretch),
            cache=cache,
        )
        for name, spec in specs.items()
    }


def _start(spec):
    """The weights of an arm, which may have columns beside them."""
    return spec[0] if isinstance(spec, (list, tuple)) and spec else spec


def _like_the_backbones(specs, arch, stretch):
    """Architecture and stretch of an arm that starts from nothing: those given, or those of the saved backbones."""
    weights = [_start(spec) for spec in specs]
    cards = [read_card(one) for one in weights if isinstance(one, (str, Path)) and one not in ("imagenet", "apertures")]
    found = {"arch": {card["arch"] for card in cards}, "stretch": {card["stretch"].kind for card in cards}}
    given = {"arch": arch, "stretch": stretch}
    for name, default in (("arch", "resnet18"), ("stretch", "rgb")):
        asked = None in weights or (name == "stretch" and "apertures" in weights)
        if given[name] is None and len(found[name]) > 1 and asked:
            raise ValueError(f"the saved backbones have different {name} ({', '.join(sorted(found[name]))}): give one")
        given[name] = given[name] or next(iter(found[name]), default)
    return given["arch"], given["stretch"]


def _side_by_side(tasks, truth, classes, workers):
    """The results of some tasks, in order. Small models leave most of a processor idle, so each gets a core."""
    workers = min(len(tasks), joblib.cpu_count(), workers)
    if workers < 2:
        yield from (_run(task, truth, classes) for task in tasks)
    else:
        run = joblib.delayed(_run)
        yield from joblib.Parallel(workers, return_as="generator")(run(task, truth, classes) for task in tasks)


def _run(task, truth, classes):
    start = time.perf_counter()
    probabilities = _probabilities(*task)
    seconds = time.perf_counter() - start
    scores = classification_scores(truth, probabilities, classes)
    return {**scores, "seconds": seconds, "outcomes": outcomes(truth, classes[probabilities.argmax(1)])}


def _probabilities(function, arguments, options):
    # One thread: the last digits depend on their number, and others may be at work on the other cores.
    with threadpool_limits(1):
        return function(*arguments, **options)
