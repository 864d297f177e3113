"""NaN and infinity: stop a run before they reach its weights, and say which pixels they came from."""

import numpy as np
import torch
from fastai.callback.core import Callback


def nonfinite_rows(cutouts):
    """Rows of the cutouts that hold a pixel which is NaN or infinite.

    Parameters
    ----------
    cutouts : CutoutSet of N

    Returns
    -------
    ndarray of int, sorted

    Examples
    --------
    >>> from astropy.table import Table
    >>> from astro_ssl_nb import CutoutSet
    >>> images = np.zeros((5, 1, 8, 8))
    >>> images[3, 0, 2, 2] = np.nan
    >>> nonfinite_rows(CutoutSet.from_arrays(images, Table({"objid": np.arange(5)}), bands="r"))
    array([3])
    """
    found = [np.empty(0, int)]
    for start in range(0, len(cutouts), 4096):
        images = cutouts.read(np.arange(start, min(start + 4096, len(cutouts))))
        found.append(start + np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3))))
    return np.concatenate(found)


class StopAtNaN(Callback):
    """fastai callback: stop at a loss that is not finite, before the step that would spoil the weights.

    fastai's `TerminateOnNaNCallback` stops without an error, and after that step.

    Raises
    ------
    FloatingPointError
        With the training cutouts whose pixels are not finite, if there are any.
    """

    def after_loss(self):
        if self.training and not torch.isfinite(self.loss).all():
            raise FloatingPointError(f"the loss is {self.loss.item()} at step {self.train_iter + 1}: {self._why()}")

    def _why(self):
        cutouts = self.dls.train.cutouts
        rows = nonfinite_rows(cutouts)
        if len(rows):
            ids = ", ".join(str(objid) for objid in cutouts.catalogue["objid"][rows[:5]])
            more = ", ..." if len(rows) > 5 else ""
            return (
                f"{len(rows)} of {len(cutouts)} training cutouts have pixels that are not finite (objid {ids}{more}): "
                "leave out the rows that `nonfinite_rows` gives"
            )
        kept = getattr(self.learn, "checkpoint", None)
        where = f", from the checkpoint of step {kept.step} in {kept.path}" if kept and kept.step else ""
        return f"all pixels are finite, so the steps were too long: start again at a lower learning rate{where}"
