"""A small training run that prints the loss of each step, alone or as one of the processes of a torchrun job.

python small_run.py CUTOUTS CHECKPOINT
"""

import sys

from fastai.callback.core import Callback
from fastai.torch_core import rank_distrib

import astro_ssl_nb as ssl


class Watch(Callback):
    """Keeps the loss of each training step in `steps`; where asked to, prints it or interrupts the run after one."""

    order = 80  # after the checkpoint

    def __init__(self, show=False, stop_after=None):
        self.show, self.stop_after, self.steps = show, stop_after, []

    def after_batch(self):
        if self.training:
            self.steps.append(self.loss.item())
            if self.show:
                # one write a line, so that those of two processes do not mix
                sys.stdout.write(f"{rank_distrib()} {self.steps[-1]!r}\n")
                sys.stdout.flush()
            if len(self.steps) == self.stop_after:
                raise KeyboardInterrupt


def train_small(folder, checkpoint, *, show=False, **options):
    """Losses of three epochs of ten steps, less those that the checkpoint has seen.

    At ten times this learning rate, a change of the first weights by 1e-7 has changed the losses by 1e-3 after 12 steps
    and 0.1 after 20, in one process. At this one they stay within 1e-4, and runs can be compared.
    """
    cutouts = ssl.CutoutSet.open(folder)
    dls = ssl.CutoutDataLoaders.for_properties(cutouts[:200], cutouts[200:], ssl.MAGNITUDES[1:], bs=20, **options)
    learn = ssl.property_learner(dls, "resnet10t", metrics=[])
    watch = Watch(show)
    with ssl.across_processes(learn), learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(3, 3e-4, cbs=[ssl.Checkpoint(checkpoint, every=3), watch])
    return watch.steps


def no_augmentation(x, rng):
    rng.getrandbits(60)  # one draw a batch, as augmentations make it: the next order is drawn after it
    return x


if __name__ == "__main__":
    folder, checkpoint, *plain = sys.argv[1:]
    train_small(folder, checkpoint, show=True, **({"augment": no_augmentation} if plain else {}))
