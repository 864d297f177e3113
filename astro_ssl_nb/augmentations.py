"""Random changes to batches of cutouts that leave alone what an object is."""

import math

import torch
import torch.nn.functional as F

# Pixels by which a training cutout may be off centre: astrometry and slicing leave about one.
MAX_SHIFT = 2
ZOOM, NOISE = 1.3, 0.1


def turn_and_shift(x, rng):
    """Turn, mirror and shift each image of a batch at random, without interpolation.

    The sky has no up or down, and a cutout is centred to about a pixel: none of this changes what an object is, nor
    any of its magnitudes and sizes.

    Parameters
    ----------
    x : Tensor of shape (N, C, H, W), H == W
    rng : random.Random

    Returns
    -------
    Tensor of the same shape, one of 8 orientations and a shift of up to MAX_SHIFT pixels for each image

    Raises
    ------
    ValueError
        If the images are not square.
    """
    n, _, side, width = x.shape
    if side != width:
        raise ValueError(f"images of {width} x {side} pixels cannot be turned: make square ones, or give `augment`")
    draw = torch.rand(5, n, generator=_generator(rng))
    index = torch.arange(side)
    rows, columns = (
        torch.where(flip[:, None] < 0.5, index, index.flip(0)) + shift[:, None]
        for flip, shift in zip(draw[:2], (draw[2:4] * (2 * MAX_SHIFT + 1)).long() - MAX_SHIFT, strict=True)
    )
    rows, columns = (i.clamp(0, side - 1).to(x.device, non_blocking=True) for i in (rows, columns))
    # Where `swap` is set, rows run across and columns run down: the image is transposed in the same single gather.
    swap = (draw[4] < 0.5).to(x.device, non_blocking=True)[:, None, None]
    rows = torch.where(swap, rows[:, None, :], rows[:, :, None])
    columns = torch.where(swap, columns[:, :, None], columns[:, None, :])
    image = torch.arange(n, device=x.device)[:, None, None]
    return x.permute(0, 2, 3, 1)[image, rows, columns].permute(0, 3, 1, 2)


def distort(x, rng, *, gain=0.2):
    """Rotate, zoom and dim the images of a batch, and add noise: what another night or distance would change.

    An object grows or shrinks by up to ZOOM, evenly in the logarithm; the noise has up to NOISE as standard deviation.
    Class and shape survive this; magnitudes and sizes do not, so it is not for regressing those.

    Parameters
    ----------
    x : Tensor of shape (N, C, H, W), network input (unit variance a channel)
    rng : random.Random
    gain : float, default=0.2
        Scatter of a factor on all channels of an image; one on each channel scatters half as much.
    """
    n, channels = x.shape[:2]
    generator = _generator(rng)
    angle = torch.rand(n, generator=generator) * 2 * math.pi
    scale = torch.exp((2 * torch.rand(n, generator=generator) - 1) * math.log(ZOOM))
    cos, sin, zero = torch.cos(angle) / scale, torch.sin(angle) / scale, torch.zeros(n)
    affine = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
    grid = F.affine_grid(affine.to(x), x.shape, align_corners=False)
    # The corners that a rotation brings in mirror the sky that is there: a black corner would tell the angle.
    out = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    factor = 1 + gain * (torch.randn(n, 1, generator=generator) + 0.5 * torch.randn(n, channels, generator=generator))
    sigma = NOISE * torch.rand(n, 1, 1, 1, generator=generator)
    grain = torch.randn(x.shape, generator=generator)
    return out * factor[..., None, None].to(x) + (sigma * grain).to(x)


def at_any_distance(x, rng):
    """Turn, shift, rotate, zoom and dim each image of a batch, and add noise: for properties that hold at any distance.

    Channels are dimmed apart by some per cent, more than colours strictly bear: filters and calibrations of other
    surveys differ by as much, and a network that serves them should not read colours more finely than that.

    Parameters and result are those of `turn_and_shift`; see `SCALE_FREE` for the properties.

    Examples
    --------
    >>> import random
    >>> at_any_distance(torch.ones(2, 3, 32, 32), random.Random(0)).shape
    torch.Size([2, 3, 32, 32])
    """
    return distort(turn_and_shift(x, rng), rng, gain=0.1)


def _generator(rng):
    return torch.Generator().manual_seed(rng.getrandbits(60))
