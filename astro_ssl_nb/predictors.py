"""A trained network with its last layer in one file: to be asked tomorrow, without the data that it was trained on."""

import copy

import numpy as np
import pandas as pd
from scipy.special import softmax
from torch import nn

from astro_ssl_nb.backbones import backbone_of, card_of, load_weights, read_card, write_weights
from astro_ssl_nb.learners import in_units, norm_and_linear
from astro_ssl_nb.precision import MixedPrecision
from astro_ssl_nb.representations import forward
from astro_ssl_nb.stretch import stretch_of_part


class Predictor:
    """What a trained network says of cutouts: the probability of each class, or its properties.

    Make one with `Predictor.of` from a learner, and keep it with `save` for `Predictor.open`.

    Examples
    --------
    >>> import tempfile
    >>> from astropy.table import Table
    >>> from astro_ssl_nb import CutoutSet, few_shot_learner
    >>> noise = np.random.default_rng(0).random((6, 3, 16, 16))
    >>> cutouts = CutoutSet.from_arrays(noise, Table({"class": ["STAR", "QSO"] * 3}), bands="gri")
    >>> learn = few_shot_learner(cutouts, arch="resnet10t")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Predictor.of(learn).save(f"{folder}/classifier.safetensors")
    ...     answers = Predictor.open(path).predict(cutouts)
    >>> answers.columns.tolist(), len(answers)
    (['QSO', 'STAR'], 6)
    """

    def __init__(self, model, card):
        self.model, self.card, self.is_picture = model, card, card["is_picture"]

    def __repr__(self):
        names = ", ".join(self.card.get("classes") or self.card["properties"])
        return f"Predictor: {self.card['arch']}, trained on {self.card['n_train']} cutouts, says {names}"

    @classmethod
    def of(cls, learn):
        """The predictor of a learner of this package, trained to classify or to regress properties, as it is now."""
        dls, card, head = learn.dls, card_of(learn), learn.model[1]
        norm = isinstance(head, nn.Sequential)  # the head of `few_shot_learner` is one linear layer
        card |= {"is_picture": dls.train.cutouts.is_picture, "norm": norm}
        card["outputs"] = (head[-1] if norm else head).out_features
        if hasattr(dls, "properties"):
            card |= {"target_mean": dls.target_mean.tolist(), "target_std": dls.target_std.tolist()}
        return cls(copy.deepcopy(learn.model), card)  # further training does not change it, nor asking it the learner

    def predict(self, cutouts):
        """What the network says of each cutout, which is read from disk batch by batch.

        Parameters
        ----------
        cutouts : CutoutSet of N
            With or without labels.

        Returns
        -------
        DataFrame of N rows, whose index is the `objid` of the catalogue
            Of a classifier the probability of each class; `.idxmax(axis=1)` is the predicted one. Else each property in
            its unit and, of a network with uncertainties, its scale in a column `<name> scale`.

        Raises
        ------
        ValueError
            If the cutouts have other bands or another pixel scale than those of the training, another number of pixels
            where scales are not known, or are pictures where it had fluxes; or as `embed`.
        """
        size, pixels = self.card["size"], cutouts.shape[-1]
        if pixels != size and not (self.card["pixel_scale"] and cutouts.pixel_scale):
            raise ValueError(
                f"the network was trained on cutouts of {size} pixels a side, these have {pixels}, and nothing says "
                f"how large a pixel is: make them with size={size}"
            )
        outputs = forward(self.model, cutouts, stretch_of_part(self.card["stretch"], self, cutouts))
        objid = pd.Index(np.asarray(cutouts.catalogue["objid"]), name="objid")
        if "classes" in self.card:
            return pd.DataFrame(softmax(outputs, axis=1), objid, self.card["classes"])
        values, scales = in_units(outputs, self.card["target_mean"], self.card["target_std"])
        names = self.card["properties"]
        if scales is None:
            return pd.DataFrame(values, objid, names)
        return pd.DataFrame(np.hstack([values, scales]), objid, [*names, *(f"{name} scale" for name in names)])

    def save(self, path):
        """Write network, last layer and card to one file of safetensors; returns the Path.

        Raises
        ------
        ValueError, OSError
            As `save_backbone`.
        """
        return write_weights(self.model, self.card, path)

    @classmethod
    def open(cls, path):
        """A predictor that was saved.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, or it is not a predictor that `save` wrote.
        """
        card = read_card(path)
        if "outputs" not in card:
            raise ValueError(f"{path} holds a backbone and no answers: train a head on it, as `few_shot_learner` does")
        backbone = backbone_of(card)
        make_head = norm_and_linear if card["norm"] else nn.Linear
        model = MixedPrecision(backbone, make_head(backbone.num_features, card["outputs"]))
        load_weights(model, path, card["arch"])
        return cls(model, card)
