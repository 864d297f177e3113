"""Features: what a backbone makes of images."""

import numpy as np
import torch

from astro_ssl_nb.backbones import IMAGENET_ARCH, check_pixel_scale, create_backbone, load_backbone
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
        check_pixel_scale(card, cutouts)
        return backbone, card["stretch"].refit(cutouts)
    if not isinstance(stretch, Stretch):
        stretch = Stretch.fit(cutouts, stretch)
    arch = IMAGENET_ARCH if weights == "imagenet" else arch
    return create_backbone(arch, stretch.n_channels, weights=weights, seed=seed), stretch


def forward(model, cutouts, stretch, *, bs=256):
    """Output of a model for each cutout, ndarray of shape (N, ...), read from disk batch by batch."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.eval().to(device, memory_format=torch.channels_last)
    outputs = []
    with torch.inference_mode():
        for start in range(0, len(cutouts), bs):
            images = cutouts.read(np.arange(start, min(start + bs, len(cutouts))))
            outputs.append(model(stretch(torch.from_numpy(np.ascontiguousarray(images)).to(device))).cpu().numpy())
    return np.concatenate(outputs)
