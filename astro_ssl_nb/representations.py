"""Features: what a backbone makes of images."""

import numpy as np
import torch

from astro_ssl_nb.backbones import IMAGENET_ARCH, create_backbone, imagenet_stretch, load_backbone
from astro_ssl_nb.stretch import Stretch, check_pixel_scale

BATCH = 256  # cutouts that a network looks at at once


def embed(weights, cutouts, *, arch="resnet18", stretch="rgb", seed=0):
    """Features of a frozen backbone for each cutout.

    Parameters
    ----------
    weights : path of a saved backbone, "imagenet", or None
        None gives random features: the honest floor for any frozen probe.
    cutouts : CutoutSet of N
    arch : str, default="resnet18"
        Used only where `weights` is None.
    stretch : {"rgb", "bands"} or Stretch, default="rgb"
        A saved backbone brings its own for fluxes, ImageNet the mean and scatter of its photographs. Otherwise it is
        fitted to these cutouts; for two sets that are to be compared, give `Stretch.fit` of one to both, also of
        pictures for a saved backbone.
    seed : int, default=0
        Of random weights.

    Returns
    -------
    ndarray of shape (N, D), float32

    Raises
    ------
    ValueError, FileNotFoundError
        If the backbone was trained on other bands or another pixel scale, or is not there, or a feature is not finite.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_ssl_nb import CutoutSet
    >>> cutouts = CutoutSet.from_arrays(np.ones((6, 5, 32, 32)), Table({"objid": np.arange(6)}))
    >>> embed(None, cutouts, arch="resnet10t").shape
    (6, 512)
    """
    backbone, stretch = frozen_backbone(weights, cutouts, arch=arch, stretch=stretch, seed=seed)
    return forward(backbone, cutouts, stretch)


def frozen_backbone(weights, cutouts, *, arch="resnet18", stretch="rgb", seed=0):
    """The backbone that `weights` name, and the Stretch that it needs for these cutouts."""
    if weights is not None and weights != "imagenet":
        backbone, card = load_backbone(weights)
        check_pixel_scale(card, cutouts)
        own = card["stretch"].refit(cutouts)
        if cutouts.is_picture and not own.fixed and isinstance(stretch, Stretch) and stretch.kind == own.kind:
            own = stretch.aligned(cutouts)
        return backbone, own
    stretch = stretch.aligned(cutouts) if isinstance(stretch, Stretch) else Stretch.fit(cutouts, stretch)
    arch = IMAGENET_ARCH if weights == "imagenet" else arch
    backbone = create_backbone(arch, stretch.n_channels, weights=weights, seed=seed)
    return backbone, imagenet_stretch(stretch, backbone) if weights == "imagenet" else stretch


def forward(model, cutouts, stretch):
    """Output of a model for each cutout, ndarray of shape (N, ...), read from disk batch by batch.

    Raises
    ------
    ValueError
        If there is no cutout; if an output is not finite, with the rows, and whether their pixels are to blame or the
        network.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.eval().to(device, memory_format=torch.channels_last)
    found, finite = None, True
    with torch.inference_mode():
        for start, images in cutouts.blocks(BATCH):
            output = model(stretch(torch.from_numpy(np.ascontiguousarray(images)).to(device))).cpu().numpy()
            if found is None:  # one array from the start: to join pieces at the end would take twice the memory
                found = np.empty((len(cutouts), *output.shape[1:]), output.dtype)
            found[start : start + len(output)] = output
            finite &= bool(np.isfinite(output).all())  # of all at once it would take a quarter more memory
    if found is None:
        raise ValueError("there is no cutout to look at: the set, or the part that was selected of it, is empty")
    if not finite:
        _refuse(found, cutouts, stretch)
    return found


def _refuse(outputs, cutouts, stretch):
    """An error that says where outputs that are not finite come from."""
    rows = np.flatnonzero(~np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1))
    pixels = stretch(torch.from_numpy(np.ascontiguousarray(cutouts.read(rows[:5])))).isfinite().all()
    why = (
        "their pixels are, so the weights of the network are not, or too large: train it again at a lower learning rate"
        if pixels
        else "neither are their pixels: leave out the rows that `nonfinite_rows` gives"
    )
    raise ValueError(
        f"outputs for {len(rows)} of {len(outputs)} cutouts are not finite (rows {rows[:5].tolist()} first); {why}"
    )
