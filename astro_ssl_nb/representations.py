"""Features: what a backbone makes of images, and how well they fall into classes without any label."""

import numpy as np
import pandas as pd
import torch

from astro_ssl_nb.backbones import IMAGENET_ARCH, create_backbone, load_backbone
from astro_ssl_nb.stretch import Stretch


def embed(weights, cutouts, *, arch="resnet18", stretch="rgb", bs=256, seed=0):
    """Features of a frozen backbone for each cutout.

    Parameters
    ----------
    weights : path of a saved backbone, "imagenet", or None
        None gives random features: the honest floor for any frozen probe.
    cutouts : CutoutSet of N
    arch : str, default="resnet18"
        Used only where `weights` is None.
    stretch : {"rgb", "bands"} or Stretch, default="rgb"
        A saved backbone brings its own: fluxes are stretched as in its training, pictures with constants of their set.
    bs : int, default=256
    seed : int, default=0
        Of random weights.

    Returns
    -------
    ndarray of shape (N, D), float32

    Raises
    ------
    ValueError
        If the channels of the backbone and the cutouts differ.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_ssl_nb import CutoutSet
    >>> cutouts = CutoutSet.from_arrays(np.ones((6, 5, 32, 32)), Table({"objid": np.arange(6)}))
    >>> embed(None, cutouts, arch="resnet10t").shape
    (6, 512)
    """
    backbone, stretch = frozen_backbone(weights, cutouts, arch=arch, stretch=stretch, seed=seed)
    return forward(backbone, cutouts, stretch, bs=bs)


def frozen_backbone(weights, cutouts, *, arch="resnet18", stretch="rgb", seed=0):
    """The backbone that `weights` name, and the Stretch that it needs for these cutouts."""
    if weights is not None and weights != "imagenet":
        backbone, card = load_backbone(weights)
        return backbone, card["stretch"].refit(cutouts)
    if not isinstance(stretch, Stretch):
        stretch = Stretch.fit(cutouts, stretch)
    arch = IMAGENET_ARCH if weights == "imagenet" else arch
    return create_backbone(arch, stretch.n_channels, weights=weights, seed=seed), stretch


def forward(model, cutouts, stretch, *, bs=256):
    """Output of a model for each cutout, ndarray of shape (N, ...), read from disk batch by batch."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.eval().to(device)
    outputs = []
    with torch.inference_mode():
        for start in range(0, len(cutouts), bs):
            images = cutouts.read(np.arange(start, min(start + bs, len(cutouts))))
            outputs.append(model(stretch(torch.from_numpy(np.ascontiguousarray(images)).to(device))).cpu().numpy())
    return np.concatenate(outputs)


def cluster_scores(features, labels, *, seeds=5):
    """How well k-means, told only the number of classes, finds them: NMI and ARI.

    Parameters
    ----------
    features : ndarray of shape (N, D)
        Features themselves, never coordinates of a t-SNE map, whose distances mean little.
    labels : array of N class names
    seeds : int, default=5

    Returns
    -------
    DataFrame with columns `seed`, `nmi`, `ari` (1 is perfect, 0 is chance for `ari`)
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit_transform(features)
    rows = []
    for seed in range(seeds):
        found = KMeans(len(np.unique(labels)), n_init=4, random_state=seed).fit_predict(scaled)
        rows.append((seed, normalized_mutual_info_score(labels, found), adjusted_rand_score(labels, found)))
    return pd.DataFrame(rows, columns=["seed", "nmi", "ari"])
