"""Maps and neighbours: t-SNE and nearest neighbours of features, each library's speed beside its quality."""

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from timing import clock, compare

import astro_ssl_nb as ssl

K, DIMENSIONS = 10, 512
# Trustworthiness takes the distances of all pairs: of a sample.
SAMPLE = 3000


def measure(*, repeat, n_map, n_map_once, n_neighbours, queries):
    """Rows of both parts.

    Parameters
    ----------
    n_map, n_map_once : int or None
        Objects of a map that is made `repeat` times, and of a larger one that is made once, by all libraries.
    n_neighbours, queries : int
        Objects that are searched, and for how many the neighbours are asked.
    """
    rows = maps(features(n_map), repeat)
    if n_map_once:
        rows += maps(features(n_map_once), 1)
    return rows + neighbours(features(n_neighbours), queries, repeat)


def features(n):
    """Twenty overlapping groups in 16 dimensions, bent into many more: about what a backbone gives. float32."""
    rng = np.random.default_rng(0)
    groups = rng.standard_normal((20, 16), dtype=np.float32) * 1.5
    weights = rng.standard_normal((16, DIMENSIONS), dtype=np.float32) / 4
    found = np.empty((n, DIMENSIONS), np.float32)
    for start in range(0, n, 50_000):
        m = min(50_000, n - start)
        latent = groups[rng.integers(20, size=m)] + rng.standard_normal((m, 16), dtype=np.float32)
        noise = rng.standard_normal((m, DIMENSIONS), dtype=np.float32) * np.float32(0.05)
        found[start : start + m] = np.maximum(latent @ weights, 0) + noise
    return found


def maps(x, repeat):
    made = {}

    def keep(name, work):
        def side():
            made[name] = np.asarray(work())

        return side

    def scaled():
        return StandardScaler().fit_transform(x)

    def theirs(features):
        return TSNE(init="pca", random_state=0).fit_transform(features)

    work = {
        "tsne_map": lambda: ssl.tsne_map(x),
        "scikit-learn, 50 components": lambda: theirs(PCA(50, random_state=0).fit_transform(scaled())),
        "scikit-learn, all features": lambda: theirs(scaled()),
    }
    sides = {name: keep(name, side) for name, side in work.items()}
    rows = compare(
        f"t-SNE of {len(x):,} x {x.shape[1]} features",
        sides,
        repeat=repeat,
        amount=len(x),
        unit="objects/s",
        warm=repeat > 1,
    )
    scores = {name: map_quality(x, made[name]) for name in sides}
    return [{**row, "quality": {name: scores[name] for name in row["sides"]}} for row in rows]


def map_quality(x, plane):
    """Trustworthiness (of a sample), and the share of each object's nearest neighbours that the map keeps near."""
    rows = np.random.default_rng(0).permutation(len(x))[: min(SAMPLE, len(x))]
    found = [NearestNeighbors(n_neighbors=K + 1).fit(y).kneighbors(y[rows[:1000]])[1] for y in (x, plane)]
    return {
        "trustworthiness": float(trustworthiness(x[rows], plane[rows], n_neighbors=K)),
        f"recall_at_{K}": recall(*(one[:, 1:] for one in found)),
    }


def recall(truth, found):
    """Share of the true neighbours that were found."""
    return float(np.mean([len(np.intersect1d(a, b)) / len(a) for a, b in zip(truth, found, strict=True)]))


def neighbours(x, queries, repeat):
    """An approximate index against brute force; without faiss there is nothing to compare."""
    try:
        import faiss
    except ImportError:  # a comparison only: the package does not need it
        return []
    faiss.omp_set_num_threads(torch.get_num_threads())
    asked = x[np.random.default_rng(1).permutation(len(x))[:queries]]
    brute, flat = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(x), faiss.IndexFlatL2(x.shape[1])
    flat.add(x)
    truth = brute.kneighbors(asked, K + 1, return_distance=False)[:, 1:]  # each is its own first neighbour
    cells = max(int(np.sqrt(len(x))), 1)
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(x.shape[1]), x.shape[1], cells)
    seconds = clock(lambda: (index.train(x[: 64 * cells]), index.add(x)))
    while (found := recall(truth, index.search(asked, K + 1)[1][:, 1:])) < 0.99 and index.nprobe < cells:
        index.nprobe *= 2
    return compare(
        f"{K} neighbours of {queries:,} among {len(x):,} x {x.shape[1]} features",
        {
            f"faiss IVF, {index.nprobe} of {cells} cells": lambda: index.search(asked, K + 1),
            "scikit-learn, brute force": lambda: brute.kneighbors(asked, K + 1),
            "faiss, brute force": lambda: flat.search(asked, K + 1),
        },
        repeat=repeat,
        amount=queries,
        unit="queries/s",
        at_least={"scikit-learn, brute force": 10.0, "faiss, brute force": 10.0},
        quality={f"recall_at_{K}": found, "seconds_to_build": seconds},
    )
