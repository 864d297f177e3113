"""From linear flux to network input: Lupton RGB for three-channel networks, asinh bands for raw ugriz."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from astro_ssl_nb.finite import refuse_nonfinite

# Parameters of the SDSS example in astropy's documentation of make_lupton_rgb, for frames in nanomaggies.
LUPTON_STRETCH, LUPTON_Q = 0.5, 10.0
# asinh turns from linear to logarithmic at this multiple of the pixel noise.
SOFTENING_IN_NOISE = 3.0
STRETCHES = ("rgb", "bands")
# Seeing changes the size of a star more than this from night to night.
SCALE_TOLERANCE = 0.1
# The constants are taken of so many cutouts, of fewer where they are large: this many numbers fit into any memory.
SAMPLE, LEAST_SAMPLE, NUMBERS = 2000, 50, 2000 * 5 * 64 * 64


def lupton_rgb(flux, stretch=LUPTON_STRETCH, Q=LUPTON_Q):
    """Colour pictures by the method of Lupton et al. (2004, PASP 116, 133), for whole batches.

    The brightness is compressed by asinh while the colour of each pixel is kept. For one image this equals
    `astropy.visualization.make_lupton_rgb` up to its rounding to 8 bits.

    Parameters
    ----------
    flux : Tensor of shape (..., 3, H, W)
        Linear flux in nanomaggies in the order red, green, blue (SDSS: i, r, g).
    stretch, Q : float
        Linear stretch and asinh softening, as in astropy.

    Returns
    -------
    Tensor of the same shape, from 0 to 1

    Examples
    --------
    A red pixel stays red however bright it is:

    >>> lupton_rgb(torch.tensor([[4.0], [1.0], [0.0]])[:, None] * torch.tensor([0.1, 100.0])).squeeze(1)
    tensor([[0.5225, 1.0000],
            [0.1306, 0.2500],
            [0.0000, 0.0000]])
    """
    intensity = flux.mean(-3, keepdim=True)
    brightness = torch.asinh(intensity * (Q / stretch)) * (0.1 / float(np.arcsinh(0.1 * Q)))
    # Where the bands sum to less than no light there is no colour to keep: such pixels are black, as in astropy.
    scale = torch.where(intensity > 0, brightness / intensity, 0.0)
    rgb = (flux * scale).clamp(min=0)
    return rgb / rgb.amax(-3, keepdim=True).clamp(min=1)


def colour_planes(bands):
    """Which planes to show as red, green and blue: i, r, g, or else the last, middle and first, from red to blue.

    Examples
    --------
    >>> colour_planes("ugriz"), colour_planes("grz"), colour_planes("RGB")
    ([3, 2, 1], [2, 1, 0], [0, 1, 2])
    """
    bands = list(bands)
    if bands == list("RGB"):
        return [0, 1, 2]
    if set("irg") <= set(bands):
        return [bands.index(band) for band in "irg"]
    return [len(bands) - 1, len(bands) // 2, 0]


def pixel_noise(images, axis):
    """Standard deviation of the noise of the pixels, over some axes of images of shape (..., H, W).

    Half the variance of neighbouring pixels' differences is noise, whatever the objects are.
    """
    return np.median(np.abs(np.diff(images, axis=-1)), axis=axis) / 0.6745 / np.sqrt(2)


@dataclass(frozen=True)
class Stretch:
    """A stretch with its constants: what a backbone saw when it was trained, and must see again.

    Fit it on the training images with `Stretch.fit`; calling it turns a batch of images into network input of zero
    mean and unit variance a channel.

    Parameters
    ----------
    kind : {"rgb", "bands"}
    bands : tuple of str
        Of the channels, in their order.
    planes : tuple of int
        Where a set has them.
    noise : tuple of float
        Of a pixel, a channel, in the unit of the images: what "bands" divides by, before asinh.
    mean, std : tuple of float
        Of the channels after that.
    fixed : bool, default=False
        These two are for the pictures of every set, as those of ImageNet's photographs are.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_ssl_nb.cutouts import CutoutSet
    >>> noise = np.random.default_rng(0).normal(0, 0.02, (50, 5, 32, 32))
    >>> cutouts = CutoutSet.from_arrays(noise, Table({"objid": np.arange(50)}), bands="ugriz")
    >>> stretch = Stretch.fit(cutouts, "bands")
    >>> batch = stretch(torch.from_numpy(cutouts.images))
    >>> batch.shape, bool(abs(batch.std() - 1) < 0.1)
    (torch.Size([50, 5, 32, 32]), True)
    """

    kind: str
    bands: tuple[str, ...]
    planes: tuple[int, ...]
    noise: tuple[float, ...]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    fixed: bool = False

    @classmethod
    def fit(cls, cutouts, kind="rgb"):
        """Constants from a random sample of a CutoutSet, the same each time.

        Parameters
        ----------
        cutouts : CutoutSet
        kind : {"rgb", "bands"}, default="rgb"
            "rgb" shows i, r, g, or the planes of a set that has three others, as red, green, blue (`colour_planes`) by
            Lupton's method; "bands" keeps every band as a channel, asinh in units of its own pixel noise.

        Raises
        ------
        ValueError
            If the set is empty or the kind unknown, "rgb" is asked of bands that lack i, r or g and are not three, or
            pixels of the sample are not finite.
        """
        if kind not in STRETCHES:
            raise ValueError(f"unknown stretch {kind!r}: use one of {', '.join(map(repr, STRETCHES))}")
        if not len(cutouts):
            raise ValueError("the set is empty: there is nothing to fit a stretch to")
        bands = cutouts.bands
        planes = tuple(range(len(bands)))
        if kind == "rgb":
            if len(bands) != 3 and not set("irg") <= set(bands):
                raise ValueError(f"stretch 'rgb' needs the bands i, r, g; this set has {' '.join(bands)}: use 'bands'")
            planes = tuple(colour_planes(bands))
        n = max(LEAST_SAMPLE, min(SAMPLE, NUMBERS // math.prod(cutouts.shape[1:])))
        rows = np.sort(np.random.default_rng(0).permutation(len(cutouts))[:n])
        images = cutouts.read(rows)
        refuse_nonfinite(np.isfinite(images[:, planes]), rows)  # first: one of them would spoil the noise of all
        noise = np.ones(len(planes))  # which only asinh bands are divided by
        if kind == "bands" and not cutouts.is_picture:
            noise = np.maximum(pixel_noise(images, axis=(0, 2, 3)), 1e-6)
        raw = cls(kind, tuple(bands[k] for k in planes), planes, tuple(noise.tolist()))
        channels = raw._compress(torch.from_numpy(images))
        refuse_nonfinite(channels.isfinite().numpy(), rows)
        mean, std = channels.mean((0, 2, 3)), channels.std((0, 2, 3)).clamp(min=1e-6)
        return replace(raw, mean=tuple(mean.tolist()), std=tuple(std.tolist()))

    def aligned(self, cutouts):
        """The same stretch with its planes where these cutouts have them: bands are found by name, not by place.

        Raises
        ------
        ValueError
            If the cutouts lack one of its bands.
        """
        if not set(self.bands) <= set(cutouts.bands):
            raise ValueError(
                f"the network was trained on the bands {' '.join(self.bands)}, these cutouts have "
                f"{' '.join(cutouts.bands)}: give the bands that it was trained on"
            )
        return replace(self, planes=tuple(cutouts.bands.index(band) for band in self.bands))

    def refit(self, cutouts):
        """The same stretch for another image set: pictures get their own constants, fluxes keep these.

        Flux in nanomaggies means the same in every set, so the constants of training hold. A picture's stretch was
        chosen by whoever made it; only its own mean and scatter a channel bring it near to what the network knows.

        Raises
        ------
        ValueError
            If a flux set lacks one of the bands, or pictures are given to a backbone of other bands.
        """
        if not cutouts.is_picture:
            return self.aligned(cutouts)
        own = Stretch.fit(cutouts, self.kind)
        if self.kind == "bands" and own.bands != self.bands:
            raise ValueError(
                f"the backbone was trained on {len(self.planes)} channels ({' '.join(self.bands)}), "
                f"this set gives {len(own.planes)} ({' '.join(own.bands)}): fetch the same bands, or use stretch='rgb'"
            )
        return replace(own, mean=self.mean, std=self.std, fixed=True) if self.fixed else own

    @property
    def n_channels(self):
        """Channels of the network input."""
        return len(self.planes)

    def __call__(self, images):
        """Network input, float Tensor of shape (N, C, H, W), of images of shape (N, B, H, W)."""
        x = self._compress(images)
        mean, std = (x.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (x - mean) / std

    def _compress(self, images):
        x = images if self.planes == tuple(range(images.shape[1])) else images[:, list(self.planes)]
        if x.dtype == torch.uint8:
            return x.float() / 255
        if self.kind == "rgb":
            return lupton_rgb(x)
        return torch.asinh(x / (SOFTENING_IN_NOISE * x.new_tensor(self.noise)[:, None, None]))


def check_pixel_scale(card, cutouts):
    """Refuse cutouts whose pixels are of another size than those that a backbone was trained on.

    Pictures whose scale nobody knows pass: their objects fill the frame however far away they are.

    Parameters
    ----------
    card : dict
        Of a backbone, or of the set that it was trained on.
    cutouts : CutoutSet

    Raises
    ------
    ValueError
        If both scales are known and differ by more than a tenth.
    """
    trained, given = card.get("pixel_scale"), cutouts.pixel_scale
    if trained and given and abs(given / trained - 1) > SCALE_TOLERANCE:
        raise ValueError(
            f"the backbone was trained on pixels of {trained} arcsec, these cutouts have {given}: objects would look "
            f"{trained / given:.2g} times as large. Resample them to {trained} arcsec, or pretrain on their survey"
        )


def stretch_of_part(stretch, train, part):
    """The stretch of training for another part of the data, whose bands may stand in another order.

    `train` is the training set, or what has its `card` and `is_picture`.

    Raises
    ------
    ValueError
        If the part has other bands, another pixel scale, or pictures where training has fluxes.
    """
    if part.is_picture != train.is_picture:
        kinds = ["uint8 pictures" if one.is_picture else "fluxes" for one in (train, part)]
        raise ValueError(f"the training set holds {kinds[0]}, these cutouts are {kinds[1]}: make both in the same way")
    check_pixel_scale(train.card, part)
    return stretch.aligned(part)
