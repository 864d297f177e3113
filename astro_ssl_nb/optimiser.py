"""The optimiser of our learners, and the groups of parameters that it may give different learning rates."""

import torch
from fastai.optimizer import OptimWrapper
from fastai.torch_core import params as params_of


class FusedAdamW(torch.optim.AdamW):
    """AdamW of torch that takes all its groups in one go while nothing but their parameters tells them apart.

    The arithmetic is the same. On a GPU a step of a small network takes as long as it takes to start it, a group at a
    time.
    """

    def step(self, closure=None):
        groups = self.param_groups
        first, *others = (_options(group) for group in groups)
        if any(other != first for other in others):
            return super().step(closure)
        self.param_groups = [{**first, "params": [parameter for group in groups for parameter in group["params"]]}]
        try:
            return super().step(closure)
        finally:
            self.param_groups = groups


class LeanWrapper(OptimWrapper):
    """An OptimWrapper that says its hyper-parameters, for which fastai asks at each step, without long search."""

    @property
    def hypers(self):
        found = []
        for group in self.opt.param_groups:
            options = _options(group)
            options["betas__0"], options["betas__1"] = options.pop("betas")
            found.append({self.fwd_map.get(name, name): value for name, value in options.items()})
        return found


def _options(group):
    return {name: value for name, value in group.items() if name != "params"}


def adamw(params, *, lr, **kwargs):
    """AdamW with the constants of fastai's `Adam`, in the fused form of torch.

    fastai's own is written in Python, a parameter at a time: beside a small network on small images it costs a tenth of
    the training. Unlike there, weight decay acts on norms and biases too.

    Parameters
    ----------
    params : list of lists of Parameter
    lr : float
    **kwargs
        Other constants than these, as `torch.optim.AdamW` takes them.
    """
    constants = {"betas": (0.9, 0.99), "eps": 1e-5, "weight_decay": 0.01, "fused": True}
    return LeanWrapper(params, FusedAdamW, lr=lr, **constants | kwargs)


def stages(model):
    """Parameter groups of a backbone with its head: the stem, each stage as timm counts them, the head.

    So fastai can unfreeze the last stage first, and give the early ones a smaller learning rate.
    """
    from timm.models import group_parameters

    backbone = model[0]
    named = dict(backbone.named_parameters())
    groups = group_parameters(backbone, backbone.group_matcher(coarse=True))
    return [[named[name] for name in group] for group in groups.values()] + [params_of(model[1])]
