"""The few-shot protocol: accuracy on a held-out test set against the number of labels, for arms and probes."""

import time

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from astro_ssl_nb.backbones import create_backbone
from astro_ssl_nb.properties import Property, property_values
from astro_ssl_nb.representations import forward, frozen_backbone

PROBES = ("linear", "knn", "finetune")
# Every fine-tuning gets the same number of gradient steps, however few its labels are.
FINETUNE_STEPS, FINETUNE_BATCH = 100, 32
METRICS = ("accuracy", "balanced_accuracy", "macro_f1")


def labelled_subset(labels, size, seed):
    """Rows of `size` objects a class, drawn at random; subsets of one seed are nested in size.

    Parameters
    ----------
    labels : array of N class names
    size : int
        Labels a class.
    seed : int

    Raises
    ------
    ValueError
        If a class has fewer objects than that.

    Examples
    --------
    >>> labels = np.array(["STAR", "QSO"] * 50)
    >>> few, more = labelled_subset(labels, 5, seed=0), labelled_subset(labels, 10, seed=0)
    >>> len(few), len(more), set(few) <= set(more)
    (10, 20, True)
    """
    rng = np.random.default_rng(seed)
    names, counts = np.unique(labels, return_counts=True)
    if counts.min() < size:
        rarest = names[counts.argmin()]
        raise ValueError(
            f"{size} labels a class were asked for, but class {str(rarest)!r} has {counts.min()} training objects: "
            "ask for fewer, or fetch more"
        )
    return np.sort(np.concatenate([rng.permutation(np.flatnonzero(labels == name))[:size] for name in names]))


def label_curve(
    train, test, label="class", *, arms, probes=PROBES, sizes=(5, 10, 25, 60), seeds=5, arch="resnet18", stretch="rgb"
):
    """Train every arm with every probe on few labels and score it on the test set.

    For each seed, nested subsets of `sizes` labels a class are drawn anew from `train`; all arms and probes get the
    same subsets. What a probe has to choose (regularisation, number of neighbours) it chooses by cross-validation
    within the subset. The test set is looked at once a run, for the score.

    Parameters
    ----------
    train, test : CutoutSet
        Disjoint parts, from `CutoutSet.split`.
    label : str, default="class"
    arms : dict of name -> weights
        The path of a saved backbone, "imagenet", None for random weights (random features where the backbone stays
        frozen, training from scratch where it does not), or a list of Property: the classifier that sees only those
        catalogue columns, and no image.
    probes : sequence of {"linear", "knn", "finetune"}
        Logistic regression and nearest neighbours on frozen features, and training of the whole network.
    sizes : sequence of int
        Labels a class.
    seeds : int, default=5
    arch : str, default="resnet18"
        Architecture of arms that start at random.
    stretch : {"rgb", "bands"}, default="rgb"
        For arms that bring no stretch of their own.

    Returns
    -------
    DataFrame, a row a run: `arm, probe, n_labels` (a class)`, seed, accuracy, balanced_accuracy, macro_f1, seconds`

    Raises
    ------
    ValueError, KeyError
        If a probe is unknown, a class has too few objects, or the label column is missing.
    """
    unknown = set(probes) - set(PROBES)
    if unknown:
        raise ValueError(f"unknown probe {sorted(unknown)}: use {', '.join(PROBES)}")
    if not arms or not sizes or seeds < 1:
        raise ValueError(f"nothing to run: {len(arms)} arms, sizes {tuple(sizes)}, {seeds} seeds")
    y_train, y_test = train.labels(label), test.labels(label)
    subsets = {(size, seed): labelled_subset(y_train, size, seed) for seed in range(seeds) for size in sizes}
    runs = [(arm, probe) for arm in arms for probe in probes if not (probe == "finetune" and _is_catalogue(arms[arm]))]
    rows = []
    with tqdm(total=len(runs) * len(subsets), desc="label curve", unit="run") as bar:
        for arm, probe in runs:
            inputs = _Inputs(arms[arm], train, test, arch=arch, stretch=stretch)
            for (size, seed), subset in subsets.items():
                if probe == "finetune":
                    start = time.perf_counter()
                    predicted = _finetune(inputs, subset, label, seed)
                else:
                    x_train, x_test = inputs.features(seed)
                    start = time.perf_counter()
                    predicted = _probe(probe, size, seed).fit(x_train[subset], y_train[subset]).predict(x_test)
                seconds = time.perf_counter() - start
                rows.append((arm, probe, size, seed, *_scores(y_test, predicted), seconds))
                bar.update()
                bar.set_postfix_str(f"{arm} {probe} {size}: {rows[-1][4]:.3f}")
    return pd.DataFrame(rows, columns=["arm", "probe", "n_labels", "seed", *METRICS, "seconds"])


def _is_catalogue(weights):
    return isinstance(weights, (list, tuple)) and all(isinstance(one, Property) for one in weights)


class _Inputs:
    """What the classifiers of one arm see of the training and test cutouts, computed once."""

    def __init__(self, weights, train, test, *, arch, stretch):
        self.weights, self.parts, self.arch = weights, (train, test), arch
        self.seed = None
        if not _is_catalogue(weights):
            # The stretch may look at all training images: it takes no labels.
            self.backbone, self.stretch = frozen_backbone(weights, train, arch=arch, stretch=stretch)

    def features(self, seed):
        """Features, or catalogue columns, of both parts; only random weights depend on the seed."""
        if self.seed is None or (self.weights is None and self.seed != seed):
            self.seed = seed
            if _is_catalogue(self.weights):
                self.found = [property_values(part.catalogue, self.weights) for part in self.parts]
            else:
                if self.weights is None:
                    self.backbone = create_backbone(self.arch, self.stretch.n_channels, seed=seed)
                self.found = [forward(self.backbone, part, self.stretch) for part in self.parts]
        return self.found


def _probe(probe, size, seed):
    """A scikit-learn classifier that chooses its one setting by cross-validation within the labels it is given."""
    from sklearn.decomposition import PCA
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    prepare = [SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()]
    folds = StratifiedKFold(min(5, size), shuffle=True, random_state=seed) if size > 1 else None
    if probe == "linear":
        # PCA only rotates: the solution is the same, found in as many dimensions as there are labels.
        model = make_pipeline(*prepare, PCA(svd_solver="full"), LogisticRegression(max_iter=1000))
        grid, scoring = {"logisticregression__C": [0.001, 0.01, 0.1, 1.0, 10.0]}, "neg_log_loss"
    else:
        model = make_pipeline(*prepare, KNeighborsClassifier(1))
        in_fold = size - -(-size // folds.n_splits) if folds else 1
        grid, scoring = {"kneighborsclassifier__n_neighbors": [k for k in (1, 3, 5, 9) if k <= in_fold]}, "accuracy"
    return GridSearchCV(model, grid, cv=folds, scoring=scoring) if folds else model


def _finetune(inputs, subset, label, seed):
    """Predicted classes of the test set by a whole network trained on a few labelled cutouts."""
    from fastai.callback.core import Callback, CancelValidException

    from astro_ssl_nb.dataloaders import CutoutDataLoaders
    from astro_ssl_nb.learners import class_learner

    class NoValidation(Callback):
        """There are no labels to spare for validation, and the test set must not serve as one."""

        def before_validate(self):
            raise CancelValidException

    train, test = inputs.parts
    part, weights, stretch = train[subset], inputs.weights, inputs.stretch
    dls = CutoutDataLoaders.for_classes(part, part, label=label, stretch=stretch, bs=FINETUNE_BATCH, seed=seed)
    arch = inputs.arch if weights is None else None
    learn = class_learner(dls, arch, weights=weights, metrics=[], cbs=NoValidation())
    epochs = max(1, round(FINETUNE_STEPS / len(dls.train)))
    # Dropout draws from torch's global generator: seeded here, and given back as it was.
    with torch.random.fork_rng(devices=[]), learn.no_bar(), learn.no_logging():
        torch.manual_seed(seed)
        if weights is None:
            learn.fit_one_cycle(epochs, 3e-3)
        else:
            learn.fine_tune(epochs * 2 // 3, base_lr=2e-3, freeze_epochs=epochs - epochs * 2 // 3)
    return np.asarray(dls.vocab)[forward(learn.model, test, stretch).argmax(1)]


def _scores(truth, predicted):
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

    return (
        accuracy_score(truth, predicted),
        balanced_accuracy_score(truth, predicted),
        f1_score(truth, predicted, average="macro"),
    )


def mean_interval(values, level=0.95):
    """Mean of a few runs and its Student-t interval: (mean, low, high).

    Examples
    --------
    >>> [round(float(x), 2) for x in mean_interval([0.8, 0.9, 0.85])]
    [0.85, 0.73, 0.97]
    """
    from scipy import stats

    values = np.asarray(values, float)
    if len(values) < 2:
        return values.mean(), np.nan, np.nan
    half = stats.t.ppf(0.5 + level / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean(), values.mean() - half, values.mean() + half


def paired_difference(curve, better, worse, *, n_labels, metric="accuracy"):
    """Mean difference of two (arm, probe) pairs over seeds, with its 95 % interval.

    Both were trained on the same labels for each seed, so the difference is taken seed by seed.

    Parameters
    ----------
    curve : DataFrame of `label_curve`
    better, worse : (arm, probe)
    n_labels : int

    Returns
    -------
    (mean, low, high)
    """
    runs = curve[curve.n_labels == n_labels].set_index(["arm", "probe", "seed"])[metric]
    for arm, probe in (better, worse):
        if (arm, probe) not in runs.index.droplevel("seed"):
            raise ValueError(f"the curve has no run of arm {arm!r} with probe {probe!r} at {n_labels} labels a class")
    return mean_interval((runs.loc[better] - runs.loc[worse]).dropna())


def label_efficiency(curve, arm="pretext", baseline="scratch", *, metric="accuracy", draws=1000, seed=0):
    """How many times fewer labels an arm needs than a baseline for the same score.

    Each side uses its best probe a size. The baseline's mean curve is interpolated in the logarithm of the number of
    labels; where it never gets there, its largest size gives a lower bound. The interval is a bootstrap over seeds.

    Parameters
    ----------
    curve : DataFrame of `label_curve`
    arm, baseline : str
    metric : str, default="accuracy"
    draws, seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame with columns `n_labels, score, efficiency, low, high, lower_bound`
    """
    for name in (arm, baseline):
        if name not in set(curve.arm):
            raise ValueError(f"the curve has no arm {name!r}, only {sorted(set(curve.arm))}")
    scores = {}
    for name in (arm, baseline):
        table = curve[curve.arm == name].pivot_table(index=["n_labels", "probe"], columns="seed", values=metric)
        best = table.mean(axis=1).groupby("n_labels").idxmax()
        scores[name] = table.loc[best].droplevel("probe")
    sizes = scores[arm].index.to_numpy(float)
    n_seeds = scores[arm].shape[1]

    def efficiencies(seeds):
        ours, theirs = (scores[name].iloc[:, seeds].mean(axis=1).to_numpy() for name in (arm, baseline))
        # A mean curve may dip by chance: what a baseline has reached once, it has reached.
        reached = np.maximum.accumulate(theirs)
        reached = reached + np.arange(len(reached)) * 1e-12
        needed = np.exp(np.interp(ours, reached, np.log(scores[baseline].index.to_numpy(float))))
        return ours, needed / sizes, ours > reached[-1]

    score, efficiency, bound = efficiencies(np.arange(n_seeds))
    rng = np.random.default_rng(seed)
    bootstrap = np.array([efficiencies(rng.integers(n_seeds, size=n_seeds))[1] for _ in range(draws)])
    low, high = np.percentile(bootstrap, [2.5, 97.5], axis=0)
    return pd.DataFrame(
        {"n_labels": sizes.astype(int), "score": score, "efficiency": efficiency, "low": low, "high": high}
    ).assign(lower_bound=bound)
