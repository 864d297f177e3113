"""What a representation knows without labels: labels score it here, and never train anything."""

import numpy as np
import pandas as pd
import torch
from openTSNE import TSNE
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler, normalize

from astro_ssl_nb.columns import as_labels

# Scores of a report, and what tables call them: those of k-means, which has runs, and those of all objects at once.
CLUSTERS = {"nmi": "NMI", "nmi_lengths": "NMI, lengths kept", "ari": "ARI"}
WHOLE = {"silhouette": "silhouette", "precision_at_10": "precision at 10"}
# A silhouette takes the distances of all pairs: work grows with the square of N, the answer changes little.
SILHOUETTE_SAMPLE = 5000
# Of the anomaly ranking: dimensions that distances are taken in, and neighbours that they are averaged over.
ANOMALY_DIMENSIONS, ANOMALY_NEIGHBOURS = 32, 10


def cluster_scores(features, labels, *, seeds=5, lengths=False):
    """How well k-means, told only the number of classes, finds them: NMI and ARI.

    It sees in which direction the standardised features of an object point, and not how far (Dhillon & Modha 2001,
    Mach. Learn. 42, 143): the length follows brightness, and with it k-means may cut off the brightest objects and
    leave all others together. Which arm is ahead may turn on this, so look at both. NMI is the normalised mutual
    information, ARI the adjusted Rand index (Hubert & Arabie 1985, J. Classif. 2, 193).

    Parameters
    ----------
    features : ndarray of shape (N, D)
        Features themselves, never coordinates of a t-SNE map, whose distances mean little.
    labels : array of N class names
    seeds : int, default=5
        Runs of k-means, each from other starting points and on another four fifths of the objects: on the same ones,
        all may end in one arrangement, and their agreement says nothing.
    lengths : bool, default=False
        Keep the lengths of the standardised features, as plain k-means does.

    Returns
    -------
    DataFrame with columns `seed`, `nmi`, `ari` (1 is perfect, 0 is chance for `ari`)

    Raises
    ------
    ValueError
        If `features` and `labels` differ in length, a feature is not finite, or a label is unknown.

    Examples
    --------
    >>> cluster_scores([[0.0], [0.1], [9.0], [9.1]], ["STAR", "STAR", "QSO", "QSO"], seeds=1)
       seed  nmi  ari
    0     0  1.0  1.0
    """
    (scaled, labels), rows = _standardised(features, labels), []
    points = scaled if lengths else normalize(scaled)
    for seed in range(seeds):
        some = np.random.default_rng(seed).permutation(len(labels))[: -(-len(labels) * 4 // 5)]
        found = KMeans(len(np.unique(labels)), n_init=4, random_state=seed).fit_predict(points[some])
        scores = (score(labels[some], found) for score in (normalized_mutual_info_score, adjusted_rand_score))
        rows.append((seed, *scores))
    return pd.DataFrame(rows, columns=["seed", "nmi", "ari"])


def silhouette(features, labels):
    """Whether objects lie closer to their own class than to the next one.

    The silhouette of Rousseeuw 1987 (J. Comput. Appl. Math. 20, 53), of the true classes rather than of clusters that
    were found. Each object counts once, so large classes weigh more.

    Parameters
    ----------
    features : ndarray of shape (N, D)
        Standardised here. Of more than 5000 objects a random 5000, always the same, are looked at.
    labels : array of N class names

    Returns
    -------
    float, from -1 (objects sit among another class) over 0 (classes overlap) to 1 (classes far apart)

    Raises
    ------
    ValueError
        If there are fewer than two classes, or no class has two objects; or as `cluster_scores`.

    Examples
    --------
    >>> round(silhouette([[0.0], [0.1], [9.0], [9.1]], ["STAR", "STAR", "QSO", "QSO"]), 2)
    0.99
    """
    scaled, labels = _standardised(features, labels)
    classes = len(np.unique(labels))
    if not 1 < classes < len(scaled):
        raise ValueError(
            f"{len(scaled)} objects in {classes} classes have no silhouette: give two classes or more, "
            "and more than one object in some of them"
        )
    sample = SILHOUETTE_SAMPLE if len(scaled) > SILHOUETTE_SAMPLE else None
    return float(silhouette_score(scaled, labels, sample_size=sample, random_state=0))


def precision_at_k(features, labels, k=10):
    """Of the k nearest other objects, the share that are of the same class: what a similarity search would return.

    Averaged within each class and then over classes, so that a rare class weighs as much as a common one
    (precision at k of Manning, Raghavan & Schütze 2008, Introduction to Information Retrieval, ch. 8).

    Parameters
    ----------
    features : ndarray of shape (N, D)
        Standardised here; distances are Euclidean.
    labels : array of N class names
    k : int, default=10
        A class with `k` objects or fewer cannot reach 1.

    Returns
    -------
    float, from 0 to 1; 1 / (number of classes) is about what features that know nothing give

    Raises
    ------
    ValueError
        If `k` is not from 1 to N - 1; or as `cluster_scores`.

    Examples
    --------
    >>> precision_at_k([[0.0], [0.1], [9.0], [9.1]], ["STAR", "STAR", "QSO", "QSO"], k=1)
    1.0
    """
    scaled, labels = _standardised(features, labels)
    if not 1 <= k < len(scaled):
        raise ValueError(f"{len(scaled)} objects do not have {k} neighbours each: take k from 1 to {len(scaled) - 1}")
    # Asked without objects, scikit-learn leaves each object out of its own neighbours, twins of it not.
    nearest = NearestNeighbors(n_neighbors=k).fit(scaled).kneighbors(return_distance=False)
    shared = (labels[nearest] == labels[:, None]).mean(axis=1)
    return float(np.mean([shared[labels == name].mean() for name in np.unique(labels)]))


def anomaly_recall(features, is_anomaly, *, budget=None, seed=0):
    """The share of planted anomalies that turn up among the `budget` objects that look strangest.

    Strange is what is far from its 10 nearest neighbours on average (Angiulli & Pizzuti 2002, PKDD, 15), measured on
    the 32 leading principal components, each scaled to the same spread. The ranking never sees the flags. A clump of
    more than 10 look-alikes is a class, not an anomaly, and is not found.

    Parameters
    ----------
    features : ndarray of shape (N, D)
        Standardised here.
    is_anomaly : array of N bool
    budget : int, optional
        Objects inspected, the strangest first; by default twice as many as are flagged.
    seed : int, default=0
        Of the approximate principal components that scikit-learn takes where features are many.

    Returns
    -------
    float, from 0 to 1; chance gives budget / N

    Raises
    ------
    ValueError
        If `is_anomaly` is not boolean, or flags nothing; if N is 10 or fewer; if `budget` is not from 1 to N - 1;
        or as `cluster_scores`.

    Examples
    --------
    >>> ordinary = np.random.default_rng(0).normal(size=(50, 3))
    >>> anomaly_recall(np.vstack([ordinary, [[9.0, 9.0, 9.0]]]), np.arange(51) == 50, budget=1)
    1.0
    """
    scaled, flags = _standardised(features, is_anomaly)
    n = len(scaled)
    if flags.dtype != bool:
        raise ValueError(f"is_anomaly holds {flags.dtype}: give True or False an object, as labels == 'MERGER' does")
    if not flags.any():
        raise ValueError(f"none of {n} objects is flagged as an anomaly: there is nothing to find")
    if n <= ANOMALY_NEIGHBOURS:
        raise ValueError(f"{n} objects are too few to be ranked: give more than {ANOMALY_NEIGHBOURS}")
    budget = 2 * int(flags.sum()) if budget is None else budget
    if not 1 <= budget < n:
        raise ValueError(f"inspecting {budget} of {n} objects says nothing: take a budget from 1 to {n - 1}")
    components = PCA(min(ANOMALY_DIMENSIONS, *scaled.shape), random_state=seed).fit_transform(scaled)
    # Columns that follow from others (a colour and its two magnitudes) leave components of rounding error alone:
    # scaled up they would drown the rest.
    spread = components.std(axis=0)
    real = spread > 1e-4 * spread.max()
    whitened = components[:, real] / spread[real]
    distances, _ = NearestNeighbors(n_neighbors=ANOMALY_NEIGHBOURS).fit(whitened).kneighbors()
    strangest = np.argsort(-distances.mean(axis=1), kind="stable")[:budget]
    return float(flags[strangest].sum() / flags.sum())


def tsne_map(features, *, seed=0):
    """A map of the features in the plane that keeps neighbours together (van der Maaten & Hinton 2008, JMLR 9, 2579).

    For looking: distances between islands and their sizes mean nothing, so take scores on the features instead.

    Parameters
    ----------
    features : ndarray of shape (N, D)
        Standardised here, and reduced to 50 principal components: the rest is mostly noise, and costs time.
    seed : int, default=0

    Returns
    -------
    ndarray of shape (N, 2), float32

    Raises
    ------
    ValueError
        If there are fewer than 4 objects or 2 features, or a feature is not finite.

    Examples
    --------
    >>> tsne_map(np.random.default_rng(0).normal(size=(20, 5))).shape
    (20, 2)
    """
    scaled, _ = _standardised(features)
    n, d = scaled.shape
    if n < 4 or d < 2:
        raise ValueError(f"{n} objects with {d} features need no map: give 4 objects and 2 features or more")
    components = PCA(min(50, n, d), random_state=seed).fit_transform(scaled)
    # Perplexity is roughly a number of neighbours, and a small set has few.
    tsne = TSNE(perplexity=min(30, (n - 1) / 3), n_jobs=torch.get_num_threads(), random_state=seed)
    return np.asarray(tsne.fit(components), dtype=np.float32)


def representation_report(features, labels, *, seeds=5):
    """The scores of a representation that need no training, side by side.

    Parameters
    ----------
    features : ndarray of shape (N, D)
    labels : array of N class names
    seeds : int, default=5
        Of k-means.

    Returns
    -------
    dict with `nmi` and `ari` (means over seeds of `cluster_scores`), `nmi_lengths` (that of k-means with lengths kept),
    the lowest and the highest of each (`nmi_low`, `nmi_high` and so on), `silhouette` and `precision_at_10`

    Raises
    ------
    ValueError
        As `cluster_scores`, `silhouette` and `precision_at_k`; so N must be more than 10.

    Examples
    --------
    >>> labels = np.repeat(["STAR", "QSO"], 11)
    >>> report = representation_report(np.where(labels == "QSO", 9.0, 0.0)[:, None], labels)
    >>> [report[score] for score in ("nmi", "nmi_low", "silhouette", "precision_at_10")]
    [1.0, 1.0, 1.0, 1.0]
    """
    clusters = cluster_scores(features, labels, seeds=seeds)
    clusters["nmi_lengths"] = cluster_scores(features, labels, seeds=seeds, lengths=True).nmi
    found = {"": clusters.mean(), "_low": clusters.min(), "_high": clusters.max()}
    return {
        **{f"{name}{end}": float(scores[name]) for name in CLUSTERS for end, scores in found.items()},
        "silhouette": silhouette(features, labels),
        "precision_at_10": precision_at_k(features, labels, k=10),
    }


def score_table(reports):
    """Reports side by side as people read them: k-means with its mean, and from the lowest to the highest.

    Parameters
    ----------
    reports : dict of name -> dict of `representation_report`

    Examples
    --------
    >>> labels = np.repeat(["STAR", "QSO"], 11)
    >>> report = representation_report(np.where(labels == "QSO", 9.0, 0.0)[:, None], labels)
    >>> score_table({"brightness": report}).loc["brightness", "NMI"]
    '1.00 (1.00 to 1.00)'
    """
    rows = {
        name: {
            title: "{:.2f} ({:.2f} to {:.2f})".format(*(one[f"{score}{end}"] for end in ("", "_low", "_high")))
            for score, title in CLUSTERS.items()
        }
        | {title: f"{one[score]:.3f}" for score, title in WHOLE.items()}
        for name, one in reports.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _standardised(features, labels=None):
    """Features with mean 0 and variance 1 each, and plain labels, after a look at whether they can be used at all."""
    features = np.asarray(features)
    if features.ndim != 2:
        raise ValueError(f"features have shape {features.shape}: give a table of (objects, features)")
    if labels is not None and np.shape(labels) != (len(features),):
        raise ValueError(
            f"features of {len(features)} objects came with labels or flags of shape {np.shape(labels)}: "
            "give one an object, in the same order"
        )
    broken = int((~np.isfinite(features)).any(axis=1).sum())
    if broken:
        raise ValueError(f"features of {broken} of {len(features)} objects are not finite: leave these objects out")
    return StandardScaler().fit_transform(features), None if labels is None else as_labels(labels)
