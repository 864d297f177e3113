"""One training run on several processes, of one computer or many: fastai's trainer on accelerate, with our shards."""

from contextlib import contextmanager

import torch
from fastai.distributed import DistributedTrainer
from fastai.torch_core import num_distrib, rank_distrib
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def across_processes(learn):
    """Train a learner on all processes of a job of `torchrun`; without such a job, nothing is changed.

    The batch size stays that of the whole job: each process takes an equal share of every training batch, and reads no
    other images. Gradients are averaged, and batch norm takes its statistics over all shares, so that the losses are
    those of one process. All processes validate on the whole validation set, so that its metrics are, too. Two
    differences remain: each process draws its own augmentation, and where processes have different numbers of unknown
    targets, these are weighted a little differently.

    On CPUs set ``ACCELERATE_USE_CPU=true``.

    Parameters
    ----------
    learn : Learner made by `property_learner` or `class_learner`

    Raises
    ------
    ValueError
        If the batch size is not a multiple of the number of processes.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_ssl_nb import CutoutDataLoaders, CutoutSet, class_learner
    >>> table = Table({"class": ["STAR", "QSO"] * 8})
    >>> cutouts = CutoutSet.from_arrays(torch.rand(16, 3, 16, 16), table, bands="gri")
    >>> learn = class_learner(CutoutDataLoaders.for_classes(cutouts, cutouts, bs=8), "resnet10t")
    >>> with across_processes(learn), learn.no_bar(), learn.no_logging():
    ...     learn.fit(1)
    """
    processes = num_distrib()
    if processes < 2:
        yield learn
        return
    learn.dls.train.shard(rank_distrib(), processes)
    trainer = _Trainer(sync_bn=False)  # torch has it for GPUs only, and its conversion loses timm's activations
    learn.add_cb(trainer)
    learn.model = _share_statistics(learn.model, trainer.accelerator.device)
    if rank_distrib() and hasattr(learn, "progress"):
        learn.remove_cb(learn.progress)
    try:
        yield learn
    finally:
        learn.remove_cb(trainer)
        for module in learn.model.modules():
            vars(module).pop("forward", None)
        learn.dls.train.shard(0, 1)


class _Trainer(DistributedTrainer):
    def _wrap_dl(self, dl):
        """Ours share their batches out themselves; fastai's loader for this sends indices through CUDA."""
        return dl


def _share_statistics(model, device):
    """Let batch norm take mean and variance over the shares of all processes."""
    if device.type == "cuda":
        from timm.layers import convert_sync_batchnorm

        return convert_sync_batchnorm(model)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.forward = _SharedBatchNorm(module)  # type: ignore[method-assign]  # of this layer alone
    return model


class _SharedBatchNorm:
    """The forward pass of a batch norm layer whose batch is spread over processes of equal shares."""

    def __init__(self, layer):
        self.layer, self.local = layer, layer.forward

    def __call__(self, x):
        layer = self.layer
        if not layer.training:
            return self.local(x)
        dims = [0, *range(2, x.ndim)]
        shape = [1, -1] + [1] * (x.ndim - 2)
        mean = _MeanOfProcesses.apply(x.mean(dims))
        centred = x - mean.view(shape)
        variance = _MeanOfProcesses.apply(centred.square().mean(dims))
        n = num_distrib() * x.numel() / x.shape[1]
        with torch.no_grad():
            layer.num_batches_tracked += 1
            layer.running_mean.lerp_(mean, layer.momentum)
            layer.running_var.lerp_(variance * (n / (n - 1)), layer.momentum)
        x = centred * (layer.weight * torch.rsqrt(variance + layer.eps)).view(shape) + layer.bias.view(shape)
        # timm puts the activation that follows into some of its layers.
        return layer.act(layer.drop(x)) if hasattr(layer, "act") else x


class _MeanOfProcesses(torch.autograd.Function):
    """The mean of a tensor over all processes, and of its gradient."""

    @staticmethod
    def forward(ctx, x):
        x = x.clone()
        torch.distributed.all_reduce(x)
        return x / num_distrib()

    backward = forward
