"""Torch's global generators, seeded for a while and given back as they were."""

from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed):
    """Seed the generators of the processor and of CUDA's GPUs; after the block, or an error in it, they are as before.

    Parameters
    ----------
    seed : int

    Examples
    --------
    >>> with seeded(0):
    ...     first = torch.rand(3)
    >>> with seeded(0):
    ...     again = torch.rand(3)
    >>> bool((first == again).all())
    True
    """
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def get_generators():
    """The states of torch's generators, a dict of tensors."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_generators(states):
    """Give the generators the states that `get_generators` took; those of GPUs only on as many GPUs."""
    torch.set_rng_state(states["cpu"])
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
