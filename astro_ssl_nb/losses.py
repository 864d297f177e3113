"""Regression losses that know what is unknown."""

import torch
import torch.nn.functional as F

# Standardised targets: an error bar outside this range (in units of the scatter of a property) is a runaway.
LOG_SCALE_RANGE = (-5.0, 2.0)


def masked_l1(prediction, target, *, reduction="mean"):
    """Mean absolute error over the known values of a batch; NaN targets are unknown and carry no gradient.

    Parameters
    ----------
    prediction, target : Tensor of shape (N, P)
    reduction : {"mean", "none"}, default="mean"
        As in torch: "none" gives the mean over the known values of each object, which fastai's interpretations ask for.

    Returns
    -------
    Tensor, a scalar or (N,) (0 where nothing is known)

    Examples
    --------
    >>> masked_l1(torch.tensor([[1.0, 5.0]]), torch.tensor([[3.0, torch.nan]])).item()
    2.0
    """
    known = ~target.isnan()
    error = (prediction - torch.where(known, target, prediction.detach())).abs()
    return _mean_of_known(error, known, reduction)


def masked_laplace(prediction, target, *, reduction="mean"):
    """Heteroscedastic regression: the network says how far each of its answers may be off, and is held to it.

    Negative log likelihood of a Laplace distribution, |error| / scale + log(scale), over the known values (Kendall &
    Gal 2017, arXiv:1703.04977). Each term is multiplied by the scale itself, held constant, as Seitzer et al. (2022,
    arXiv:2203.09168) propose: the values then learn as under `masked_l1`, while without it a network that says it is
    unsure of a property stops learning it.

    Parameters
    ----------
    prediction : Tensor of shape (N, 2 P)
        P values, then P logarithms of the scale.
    target : Tensor of shape (N, P)
        NaN where unknown.
    reduction : {"mean", "none"}, default="mean"
        As in `masked_l1`.

    Returns
    -------
    Tensor, a scalar or (N,) (0 where nothing is known)

    Examples
    --------
    >>> unsure, sure = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, -2.0]])
    >>> far = torch.tensor([[3.0]])
    >>> bool(masked_laplace(unsure, far) / 1 < masked_laplace(sure, far) / 0.135)
    True
    """
    value, log_scale = prediction.chunk(2, dim=1)
    log_scale = log_scale.clamp(*LOG_SCALE_RANGE)
    known = ~target.isnan()
    error = (torch.where(known, target, value.detach()) - value).abs()
    scale = log_scale.exp()
    likelihood = scale.detach() * (error / scale + log_scale)
    return _mean_of_known(likelihood * known, known, reduction)


def _mean_of_known(values, known, reduction):
    if reduction == "none":
        return values.sum(1) / known.sum(1).clamp(min=1)
    return values.sum() / known.sum().clamp(min=1)


# The weights of VICReg, beside 1 for its covariance.
INVARIANCE = VARIANCE = 25.0


def vicreg(one, other):
    """How far two views of the same objects lie apart, and how much of the space they leave unused.

    Variance-invariance-covariance regularisation (Bardes, Ponce & LeCun 2022, arXiv:2105.04906).

    Parameters
    ----------
    one, other : Tensor of shape (N, D)
        Projected features of two views of the same N objects.

    Returns
    -------
    Tensor, a scalar

    Examples
    --------
    >>> same = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    >>> bool(vicreg(same, same) < vicreg(same, same.flip(0)))
    True
    >>> bool(vicreg(same, same) < vicreg(0 * same, 0 * same))  # a collapsed space is no solution
    True
    """
    n, d = one.shape
    loss = INVARIANCE * F.mse_loss(one, other)
    for view in (one, other):
        centred = view - view.mean(0)
        scatter = torch.sqrt(centred.var(0) + 1e-4)
        loss = loss + 0.5 * VARIANCE * F.relu(1 - scatter).mean()
        product = centred.T @ centred / (n - 1)
        loss = loss + (product.square().sum() - product.diagonal().square().sum()) / d
    return loss
