"""Pretrain on properties with several processes; killed, the same command goes on from the last checkpoint.

    ACCELERATE_USE_CPU=true torchrun --standalone --nproc_per_node 2 notebooks/pretrain_many.py \\
        --data runs/course/data/pretext --out runs/course/many

One process needs no torchrun, and GPUs no ACCELERATE_USE_CPU. On N computers, start torchrun once on each, with
``--nnodes N --rdzv_backend c10d --rdzv_endpoint HOST:PORT`` in the place of ``--standalone``; all must see ``--data``
and ``--out`` at the same paths.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

from fastai.callback.core import Callback
from fastai.distributed import teardown_distrib
from fastai.torch_core import num_distrib, rank_distrib

import astro_ssl_nb as ssl


class Report(Callback):
    """One line a checkpoint."""

    order = 80  # after the checkpoint is written

    def after_batch(self):
        if self.training and self.checkpoint.step == self.train_iter and rank_distrib() == 0:
            print(f"step {self.train_iter}: loss {self.recorder.smooth_loss.value:.4f}, checkpoint written", flush=True)


def pretrain(data, out, *, arch, epochs, learning_rate, bs, every, seed):
    """Pretrain and leave `backbone.safetensors` in the folder `out`, and beside it the checkpoint of the run."""
    train, valid = ssl.CutoutSet.open(data).split((0.9, 0.1), seed=seed)
    dls = ssl.CutoutDataLoaders.for_properties(train, valid, ssl.MAGNITUDES, bs=bs, seed=seed)
    learn = ssl.property_learner(dls, arch, metrics=[])
    checkpoint = ssl.Checkpoint(Path(out) / "checkpoint.pt", every=every)
    with ssl.across_processes(learn), learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(epochs, learning_rate, cbs=[checkpoint, Report(), ssl.StopAtNaN()])
    if rank_distrib() == 0:
        loss = learn.recorder.values[-1][-1]
        path = ssl.save_backbone(learn, Path(out) / "backbone.safetensors", valid_loss=loss)
        print(f"{path}: validation loss {loss:.4f}, {max(num_distrib(), 1)} processes")


def main():
    """Command line of this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of the CutoutSet")
    parser.add_argument("--out", required=True, help="folder of the checkpoint and the backbone")
    parser.add_argument("--arch", default="resnet18", help="timm architecture (default: resnet18)")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--bs", type=int, default=64, help="batch size of all processes together (default: 64)")
    parser.add_argument("--every", type=int, default=100, help="steps from one checkpoint to the next (default: 100)")
    parser.add_argument("--seed", type=int, default=0)
    options = vars(parser.parse_args())
    if options["bs"] < 1:
        parser.error(f"--bs {options['bs']}: a batch has 1 cutout or more")
    kept = Path(options["out"]) / "checkpoint.pt"
    again = f"The same command goes on from {kept}." if kept.exists() else "There was no checkpoint before."
    if rank_distrib() == 0:
        print(again, flush=True)
    # torchrun ends all processes when one is gone, and a queue ends a job whose time is up.
    signal.signal(signal.SIGTERM, lambda *_: leave(f"Ended from outside. {advice(kept)}"))
    try:
        pretrain(**options)
        teardown_distrib()
    except KeyboardInterrupt:
        leave(f"Interrupted. {advice(kept)}")
    except RuntimeError as error:  # a collective operation that lost its partner, among others
        leave(f"Stopped, for another process of the job is gone or memory ran out ({error}). {advice(kept)}")
    except KeyError as error:
        leave(f"Stopped: {error.args[0]}")
    except (OSError, ValueError, FloatingPointError) as error:
        leave(f"Stopped: {error}")


def leave(message):
    """Say why, and go at once: the orderly end of Python would wait for processes that are gone."""
    print(message, file=sys.stderr, flush=True)
    os._exit(1)


def advice(kept):
    """How to go on after a stop."""
    return f"The same command goes on from {kept}." if kept.exists() else "The same command starts anew."


if __name__ == "__main__":
    main()
