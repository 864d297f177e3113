"""bfloat16 on GPUs that compute with it."""

from contextlib import nullcontext

import torch
from torch import nn


def has_bfloat16(device):
    """Whether a device multiplies in bfloat16 by itself; elsewhere it is emulated, and slower than float32.

    Parameters
    ----------
    device : torch.device
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # On CPUs that have it, a backward pass over maps of one pixel left NaN in weights that no pixel touches: not there.
    return False


class MixedPrecision(nn.Sequential):
    """Layers that train in bfloat16 where the device has it; weights, outputs, losses and norms stay float32.

    fastai's callback of this name serves CUDA alone, and leaves autocast on if a forward pass is interrupted.
    """

    def forward(self, x):
        with self._autocast(x):
            return super().forward(x).float()

    def features(self, x):
        """Output of the first layer, the backbone, alone."""
        with self._autocast(x):
            return self[0](x).float()

    def _autocast(self, x):
        if self.training and has_bfloat16(x.device):
            return torch.autocast(x.device.type, torch.bfloat16)
        return nullcontext()  # autocast that is not enabled would switch off that of `learn.to_fp16()`
