"""NaN and infinity: stop a run before they reach its weights, and say which pixels they came from."""

import math

import torch
from fastai.callback.core import Callback, CancelFitException

from astro_ssl_nb.finite import nonfinite_rows


class NoticeNaN(Callback):
    """fastai callback of every learner of ours: an error once the running mean of the loss is not finite.

    fastai has brought that mean to the processor by then, so that looking at it costs nothing; but the weights are
    spoilt. `StopAtNaN` saves them.

    Raises
    ------
    FloatingPointError
        As `StopAtNaN`.
    """

    order = 55  # after the recorder (50), which takes the mean, and before a checkpoint (70) is written

    def after_batch(self):
        # A search for the learning rate goes on until the loss explodes.
        if not self.training or hasattr(self.learn, "lr_finder"):
            return
        mean = float(getattr(self.learn, "smooth_loss", 0.0))
        if not math.isfinite(mean):
            raise FloatingPointError(f"the loss is {mean} after step {self.train_iter}: {_why(self.learn)}")


class StopAtNaN(Callback):
    """fastai callback: stop at a loss that is not finite, before the step that would spoil the weights.

    fastai's `TerminateOnNaNCallback` stops without an error, and after that step. The loss is waited for at each step,
    which a GPU may feel; without this callback our learners stop a step later, with spoilt weights.

    Raises
    ------
    FloatingPointError
        With the training cutouts whose pixels are not finite, if there are any.

    Examples
    --------
    See `Checkpoint`, beside which it belongs.
    """

    def after_loss(self):
        if self.training and not torch.isfinite(self.loss).all():
            if hasattr(self.learn, "lr_finder"):  # its search ends here, and it brings the weights back
                raise CancelFitException
            raise FloatingPointError(
                f"the loss is {self.loss.item()} at step {self.train_iter + 1}: {_why(self.learn)}"
            )


def _why(learn):
    cutouts = learn.dls.train.cutouts
    rows = nonfinite_rows(cutouts)
    if len(rows):
        ids = ", ".join(str(objid) for objid in cutouts.catalogue["objid"][rows[:5]])
        more = ", ..." if len(rows) > 5 else ""
        return (
            f"{len(rows)} of {len(cutouts)} training cutouts have pixels that are not finite (objid {ids}{more}): "
            "leave out the rows that `nonfinite_rows` gives"
        )
    kept = getattr(learn, "checkpoint", None)
    where = f", from the checkpoint of step {kept.step} in {kept.path}" if kept and kept.step else ""
    return f"all pixels are finite, so the steps were too long: start again at a lower learning rate{where}"
