"""bfloat16 on GPUs that compute with it."""

import torch
from fastai.callback.core import Callback
from fastai.torch_core import to_float


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


class MixedPrecision(Callback):
    """fastai callback: forward passes in bfloat16 where the device has it; weights, losses and norms stay float32.

    fastai's own callback of this name serves CUDA alone.
    """

    order = 10

    def before_batch(self):
        device = self.dls.device
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=self.training and has_bfloat16(device))
        self.autocast.__enter__()

    def after_pred(self):
        self.learn.pred = to_float(self.pred)
        self.autocast.__exit__(None, None, None)
