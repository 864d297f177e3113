"""Regression losses that know what is unknown."""

import torch
import torch.nn.functional as F


def masked_l1(prediction, target):
    """Mean absolute error over the known values of a batch; NaN targets are unknown and carry no gradient.

    Parameters
    ----------
    prediction, target : Tensor of shape (N, P)

    Returns
    -------
    Tensor, a scalar (0 where nothing is known)

    Examples
    --------
    >>> masked_l1(torch.tensor([[1.0, 5.0]]), torch.tensor([[3.0, torch.nan]])).item()
    2.0
    """
    known = ~target.isnan()
    error = F.l1_loss(prediction, torch.where(known, target, prediction.detach()), reduction="sum")
    return error / known.sum().clamp(min=1)
