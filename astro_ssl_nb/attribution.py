"""Saliency: which pixels an answer of a network rests on."""

import numpy as np
import torch


def saliency(learn, cutouts, output, *, steps=32):
    """How much each pixel adds to an answer of the network, by integrated gradients.

    The gradient of the answer is averaged over pictures that fade in from an empty sky, and multiplied by the light of
    the pixel (Sundararajan, Taly & Yan 2017, arXiv:1703.01365). The pixels of a cutout therefore sum to its answer less
    that for an empty sky, as nearly as `steps` allow.

    Parameters
    ----------
    learn : Learner
        Made by `property_learner`, `class_learner` or, from a saved backbone and a few labels, `few_shot_learner`.
    cutouts : CutoutSet of N, a few dozen at most
    output : str
        The name of a property or of a class.
    steps : int, default=32
        Pictures between the empty sky and the cutout.

    Returns
    -------
    ndarray of shape (N, H, W)
        In the unit of the property (a pixel with -0.1 makes the magnitude 0.1 mag brighter); for a class in units of
        its log-odds, ln(p / (1 - p)).

    Raises
    ------
    ValueError
        If the learner has no such output, or the cutouts have other bands or another pixel scale than its training set.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_ssl_nb import CutoutSet, few_shot_learner
    >>> noise = np.random.default_rng(0).random((6, 3, 16, 16))
    >>> cutouts = CutoutSet.from_arrays(noise, Table({"class": ["STAR", "QSO"] * 3}), bands="gri")
    >>> learn = few_shot_learner(cutouts, arch="resnet10t")
    >>> saliency(learn, cutouts[:2], "QSO", steps=2).shape
    (2, 16, 16)
    """
    answer = _answer(learn.dls, output)
    device = next(learn.model.parameters()).device
    images = torch.from_numpy(cutouts.read(np.arange(len(cutouts)))).to(device)
    stretch = learn.dls.stretch_for(cutouts)
    light, sky = stretch(images), stretch(torch.zeros_like(images))
    learn.model.eval()
    gradient = torch.zeros_like(light)
    for share in (np.arange(steps) + 0.5) / steps:
        picture = torch.lerp(sky, light, float(share)).requires_grad_()
        # The cutouts of a batch do not mix in eval mode: the gradient of the sum is that of each.
        gradient += torch.autograd.grad(answer(learn.model(picture)).sum(), picture)[0] / steps
    return (gradient * (light - sky)).sum(1).cpu().numpy()


def _answer(dls, output):
    """The function that takes the outputs of a network to the one that is asked for, in its unit."""
    names = list(dls.vocab) if hasattr(dls, "vocab") else [one.name for one in dls.properties]
    if output not in names:
        raise ValueError(f"the learner has no output {output!r}: take one of {', '.join(names)}")
    column = names.index(output)
    if not hasattr(dls, "vocab"):
        scale, zero = float(dls.target_std[column]), float(dls.target_mean[column])
        return lambda outputs: outputs[:, column] * scale + zero
    others = [k for k in range(len(names)) if k != column]
    return lambda outputs: outputs[:, column] - outputs[:, others].logsumexp(1)
