"""An arm of a label curve: what a classifier starts from, whether pixels, pretrained features or catalogue columns."""

import numpy as np
from threadpoolctl import threadpool_limits

from astro_ssl_nb.backbones import IMAGENET_ARCH, create_backbone
from astro_ssl_nb.caches import digest, file_digest
from astro_ssl_nb.properties import Property, property_values
from astro_ssl_nb.representations import forward, frozen_backbone


def _is_columns(spec):
    return isinstance(spec, (list, tuple)) and len(spec) > 0 and all(isinstance(one, Property) for one in spec)


class Arm:
    """Classifiers of one arm, on one pair of training and test sets.

    Parameters
    ----------
    spec : path, "imagenet", None, list of Property, or (one of the first three, list of Property)
    train, test : CutoutSet
    label : str
    arch, stretch : str
        For arms that bring none of their own.
    cache : Cache

    Attributes
    ----------
    classes : ndarray of str
    identity : str
        A digest of everything that the results of this arm depend on, but probe, size and seed.
    """

    def __init__(self, spec, train, test, label, *, arch, stretch, cache):
        self.columns, self.weights, self.images = (), spec, True
        if _is_columns(spec):
            self.columns, self.weights, self.images = tuple(spec), None, False
        elif isinstance(spec, (list, tuple)):
            if len(spec) != 2 or not _is_columns(spec[1]):
                raise ValueError(f"an arm of images and columns is a pair (weights, properties), and not {spec!r}")
            self.weights, self.columns = spec[0], tuple(spec[1])
        self.parts, self.label, self.arch, self.cache = (train, test), label, arch, cache
        self.y = train.labels(label)
        self.classes = np.unique(self.y)
        self.forget()
        if self.images:
            # The stretch may look at all training images: it takes no labels.
            self.backbone, self.stretch = frozen_backbone(self.weights, train, arch=arch, stretch=stretch)
        self.identity = self._identity() if cache.folder else ""

    @property
    def trainable(self):
        """Whether there is a network to fine-tune."""
        return self.images and not self.columns

    def forget(self):
        """Let go of the features."""
        self.found, self.found_seed = None, None

    def features(self, seed):
        """Features, columns or both side by side, of both parts; only random weights depend on the seed."""
        fixed = not self.images or self.weights is not None
        if self.found is None or (not fixed and self.found_seed != seed):
            if self.images and not fixed:
                self.backbone = create_backbone(self.arch, self.stretch.n_channels, seed=seed)
            self.found_seed = seed
            self.found = [
                np.hstack(
                    ([self._embedded(k, None if fixed else seed)] if self.images else [])
                    + ([property_values(part.catalogue, self.columns)] if self.columns else [])
                )
                for k, part in enumerate(self.parts)
            ]
        return self.found

    def prepare(self, probe, seed):
        """Compute what all runs of a probe share, so that it does not count as the time of the first."""
        if probe != "finetune":
            self.features(seed)

    def probabilities(self, probe, subset, size, seed):
        """Class probabilities of the test set by a probe trained on some rows of the training set, (N, K) array."""
        if probe == "finetune":
            return self._finetuned(subset, seed)
        from astro_ssl_nb.probes import knn_probe, linear_probe

        make = {"linear": linear_probe, "knn": knn_probe}[probe]
        options = {"columns": True} if probe == "linear" and not self.images else {}
        x_train, x_test = self.features(seed)
        return make(size, seed, **options).fit(x_train[subset], self.y[subset]).predict_proba(x_test)

    def _finetuned(self, subset, seed):
        import torch

        from astro_ssl_nb.finetuning import few_shot_learner

        train, test = self.parts
        arch = self.arch if self.weights is None else None
        # One thread, since the last digits depend on their number, and others may be trained on the other cores.
        with threadpool_limits(1):
            learn = few_shot_learner(
                train[subset], self.label, weights=self.weights, arch=arch, stretch=self.stretch, seed=seed
            )
            scores = forward(learn.model, test, self.stretch)
        return torch.from_numpy(scores).softmax(1).numpy()

    def _embedded(self, k, seed):
        return self.cache.array(
            ("features", self.identity, k, seed), lambda: forward(self.backbone, self.parts[k], self.stretch)
        )

    def _identity(self):
        network = self.weights
        if network == "imagenet":
            network = IMAGENET_ARCH
        elif network is not None:
            network = file_digest(network)
        columns = (
            [property_values(part.catalogue, self.columns).tobytes() for part in self.parts] if self.columns else ""
        )
        images = [part.checksum() for part in self.parts], self.stretch if self.images else ""
        labels = [list(part.labels(self.label)) for part in self.parts]
        return digest(self.images, network, self.arch, images, columns, labels)
