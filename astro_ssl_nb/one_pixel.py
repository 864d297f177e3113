"""Convolutions whose output is one pixel, as the matrix product that they are."""

import torch.nn.functional as F
from torch import nn


class OnePixelConv2d(nn.Conv2d):
    """A Conv2d that, where its output is one pixel a channel, multiplies by those weights alone that meet the image.

    The last stage of a network has maps of one pixel if cutouts are small, and 8 of 9 weights of its filters meet
    nothing but padding. oneDNN computes all of them: where processors lack AVX-512 that is half the time of training.
    """

    def forward(self, x):
        padding = self.padding
        if x.device.type != "cpu" or isinstance(padding, str) or not self._covers(x.shape[2:], padding):
            return super().forward(x)
        (top, left), (height, width) = padding, x.shape[2:]
        # Channels last, as our networks lie in memory. Permuted before they are cut, so that their gradient comes in
        # this order too: to sort it anew took a fifth of a step of small batches.
        pixels, filters = (part.permute(0, 2, 3, 1) for part in (x, self.weight))
        filters = filters[:, top : top + height, left : left + width]
        return F.linear(pixels.flatten(1), filters.flatten(1), self.bias)[..., None, None]

    def _covers(self, shape, padding):
        """Whether there is one place of the filter only, at which it covers all of the image."""
        if self.groups > 1 or self.padding_mode != "zeros" or self.dilation != (1, 1):
            return False
        sides = zip(shape, self.kernel_size, padding, self.stride, strict=True)
        return all(side <= kernel - pad and 0 <= side + 2 * pad - kernel < step for side, kernel, pad, step in sides)


def with_one_pixel_products(network):
    """The same network, whose convolutions are of `OnePixelConv2d`; weights and their names stay.

    Examples
    --------
    >>> import torch
    >>> conv = nn.Conv2d(8, 4, 3, padding=1)
    >>> x = torch.rand(2, 8, 1, 1)
    >>> before = conv(x)
    >>> bool(torch.allclose(with_one_pixel_products(conv)(x), before, atol=1e-6))
    True
    """
    for module in network.modules():
        if type(module) is nn.Conv2d:
            module.__class__ = OnePixelConv2d
    return network
