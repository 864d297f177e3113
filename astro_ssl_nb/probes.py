"""Frozen probes: scikit-learn classifiers on features or columns, with what they choose chosen within their labels."""

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

# By accuracy, since one odd object among twenty decides a log loss; of equal candidates the first is taken.
STRENGTHS = [0.1, 1.0, 0.01, 10.0]


def linear_probe(size, seed, *, columns=False):
    """Logistic regression whose regularisation is chosen by cross-validation, unfitted.

    Parameters
    ----------
    size : int
        Labels per class that it will be fitted to.
    seed : int
        Of the folds.
    columns : bool, default=False
        The inputs are catalogue columns and not features: gradient boosting is a candidate beside it, since magnitudes
        need not separate classes by a plane, and unknown values are filled in with the median. A feature that is NaN
        is an error.
    """
    model = LogisticRegression(max_iter=1000)
    if columns:
        boosting = GradientBoostingClassifier(n_estimators=50, max_depth=2, subsample=0.7, random_state=seed)
        grid = [{"logisticregression": [boosting]}, {"logisticregression__C": STRENGTHS}]
        return _searched(make_pipeline(*_prepared(gaps=True), model), grid, size, seed)
    # PCA only rotates: the solution is the same, found in as many dimensions as there are labels.
    return make_pipeline(*_prepared(gaps=False), PCA(svd_solver="full"), _searched(model, {"C": STRENGTHS}, size, seed))


def with_views(probe, x, y, x_views, y_views):
    """A fitted `linear_probe` fitted anew, with the strength that it has chosen, to its labels and to views of them.

    All views together weigh as much as the labels as they are.

    Parameters
    ----------
    probe : fitted Pipeline of `linear_probe`
    x, y : features (n, D) of the labelled objects, and their classes
    x_views, y_views : the same of the views, (m, D)
    """
    chosen = getattr(probe[-1], "best_estimator_", probe[-1])
    weights = np.concatenate([np.full(len(y), 0.5), np.full(len(y_views), len(y) / len(y_views) / 2)])
    *first, (name, _) = probe.steps
    model = Pipeline([*((step, clone(part)) for step, part in first), (name, clone(chosen))])
    both = np.concatenate([x, x_views]), np.concatenate([y, y_views])
    return model.fit(*both, **{f"{name}__sample_weight": weights})


def knn_probe(size, seed, *, columns=False):
    """k nearest neighbours, k chosen by cross-validation, unfitted; the arguments are those of `linear_probe`."""
    # By distance: of neighbours that count alike, a tie would go to the class whose name comes first.
    in_fold = size - -(-size // min(5, size)) if size > 1 else 1
    grid = {"n_neighbors": [k for k in (1, 3, 5, 9) if k <= in_fold]}
    neighbours = KNeighborsClassifier(1, weights="distance")
    return make_pipeline(*_prepared(gaps=columns), _searched(neighbours, grid, size, seed))


def frozen_probabilities(probe, x, y, x_test, *, size, seed, columns=0):
    """Class probabilities of a test set, (N, K) array, by a probe on frozen features, columns or both.

    Features and columns get a classifier of their own each, whose probabilities are averaged: side by side in one, a
    dozen columns would drown in hundreds of features.

    Parameters
    ----------
    probe : {"linear", "knn"}
    x, y : features (n, D) of the labelled objects, and their classes
    x_test : ndarray of shape (N, D)
    size, seed : as in `linear_probe`
    columns : int, default=0
        So many of the last of the D are catalogue columns.
    """
    make, features = {"linear": linear_probe, "knn": knn_probe}[probe], x.shape[1] - columns
    answers = []
    for part, are_columns in ((np.s_[:, :features], False), (np.s_[:, features:], True)):
        if x[part].shape[1]:
            answers.append(make(size, seed, columns=are_columns).fit(x[part], y).predict_proba(x_test[part]))
    return np.mean(answers, axis=0)


def as_linear_layer(probe):
    """A fitted `linear_probe` as weight (classes, D) and bias (classes,) of one linear layer on the raw features.

    Two classes get the scores -s / 2 and s / 2, so that the softmax of the layer is the probability of the probe.
    """
    *_, scaler, rotation, search = (step for _, step in probe.steps)
    classifier = getattr(search, "best_estimator_", search)
    weight = classifier.coef_ @ rotation.components_
    bias = classifier.intercept_ - weight @ rotation.mean_
    weight, bias = weight / scaler.scale_, bias - weight @ (scaler.mean_ / scaler.scale_)
    if len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias


def _prepared(gaps):
    # It looks at no label: outside the search, it is done once and not again for each fold.
    filled = [SimpleImputer(strategy="median", keep_empty_features=True)] if gaps else []
    return *filled, StandardScaler()


def _searched(model, grid, size, seed):
    if size == 1:  # nothing can be held out of one label per class
        return model
    folds = StratifiedKFold(min(5, size), shuffle=True, random_state=seed)
    return GridSearchCV(model, grid, cv=folds, scoring="accuracy")
