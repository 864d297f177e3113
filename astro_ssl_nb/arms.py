"""An arm of a label curve: what a classifier starts from, whether pixels, pretrained features or catalogue columns."""

import os

import numpy as np

from astro_ssl_nb.apertures import aperture_magnitudes
from astro_ssl_nb.backbones import IMAGENET_ARCH, create_backbone
from astro_ssl_nb.caches import digest
from astro_ssl_nb.files import file_digest
from astro_ssl_nb.properties import Property, property_values
from astro_ssl_nb.representations import forward, frozen_backbone
from astro_ssl_nb.stretch import Stretch, stretch_of_part


def _is_columns(spec):
    return isinstance(spec, (list, tuple)) and len(spec) > 0 and all(isinstance(one, Property) for one in spec)


class Arm:
    """Classifiers of one arm, on one pair of training and test sets.

    Parameters
    ----------
    spec : path, "imagenet", None, "apertures", list of Property, or (one of the first three, list of Property)
    train, test : CutoutSet
    label : str
    arch, stretch : str
        For arms that bring none of their own.
    cache : Cache

    Raises
    ------
    ValueError
        If `spec` is none of these, or the bands or the pixel scale of the sets and of the backbone differ.
    FileNotFoundError
        If there is no such backbone.

    Attributes
    ----------
    classes : ndarray of str
    identity : str
        A digest of everything that the results of this arm depend on, but probe, size and seed.
    """

    def __init__(self, spec, train, test, label, *, arch, stretch, cache):
        self.columns, self.weights = (), spec
        if _is_columns(spec):
            self.columns, self.weights = tuple(spec), None
        elif isinstance(spec, (list, tuple)):
            if len(spec) != 2 or not _is_columns(spec[1]) or spec[0] == "apertures":
                raise ValueError(f"an arm of images and columns is a pair (weights, properties), and not {spec!r}")
            self.weights, self.columns = spec[0], tuple(spec[1])
        if not isinstance(self.weights, str | os.PathLike | None):
            raise ValueError(
                f"an arm is a path, 'imagenet', None, 'apertures' or a list of properties, and not {self.weights!r}"
            )
        self.apertures = self.weights == "apertures"
        self.network = not self.apertures and not _is_columns(spec)
        self.parts, self.label, self.cache = (train, test), label, cache
        self.arch = arch if self.weights is None else None  # others bring their own
        self.y = train.labels(label)
        self.classes = np.unique(self.y)
        self.forget()
        self.stretches: tuple[Stretch, ...] = ()
        if self.network:
            # The stretch may look at all training images: it takes no labels.
            self.backbone, fitted = frozen_backbone(self.weights, train, arch=arch, stretch=stretch)
        elif self.apertures:
            fitted = Stretch.fit(train, stretch)  # they are laid on the planes that a network would see
        if self.network or self.apertures:
            self.stretches = fitted, stretch_of_part(fitted, train, test)
        self.identity = self._identity() if cache.folder else ""

    @property
    def trainable(self):
        """Whether there is a network to fine-tune."""
        return self.network and not self.columns

    @property
    def fixed(self):
        """Whether the features are the same for all seeds; only random weights depend on the seed."""
        return not self.network or self.weights is not None

    def forget(self):
        """Let go of the features."""
        self.found, self.found_seed = None, None

    def features(self, seed):
        """Features, columns or both side by side, of both parts."""
        if self.found is None or (not self.fixed and self.found_seed != seed):
            if not self.fixed:
                self.backbone = create_backbone(self.arch, self.stretches[0].n_channels, seed=seed)
            self.found_seed = seed
            self.found = [np.hstack([*self._seen(k, seed)]) for k in range(len(self.parts))]
        return self.found

    def task(self, probe, subset, size, seed):
        """What trains a probe on some rows of the training set and predicts the test set: a function and its arguments.

        They are all that another process needs to do it.

        Raises
        ------
        ValueError
            If columns are to be fine-tuned.
        """
        if probe != "finetune":
            from astro_ssl_nb.probes import frozen_probabilities

            x_train, x_test = self.features(seed)
            columns = len(self.columns) if self.network else x_train.shape[1]
            options = {"size": size, "seed": seed, "columns": columns}
            return frozen_probabilities, (probe, x_train[subset], self.y[subset], x_test), options
        from astro_ssl_nb.finetuning import finetuned_probabilities

        if not self.trainable:
            raise ValueError("an arm with columns has no network to fine-tune: use probe 'linear' or 'knn'")
        options = {"weights": self.weights, "arch": self.arch, "stretch": self.stretches[0], "seed": seed}
        return finetuned_probabilities, (self.parts[0], subset, self.parts[1], self.label), options

    def _seen(self, k, seed):
        part = self.parts[k]
        if self.network:
            yield self._embedded(k, None if self.fixed else seed)
        if self.apertures:
            yield aperture_magnitudes(part, self.stretches[k].planes)
        if self.columns:
            yield property_values(part.catalogue, self.columns)

    def _embedded(self, k, seed):
        return self.cache.array(
            ("features", self.identity, k, seed), lambda: forward(self.backbone, self.parts[k], self.stretches[k])
        )

    def _identity(self):
        network = self.weights
        if network == "imagenet":
            network = IMAGENET_ARCH
        elif network is not None and not self.apertures:
            network = file_digest(network)
        columns = (
            [property_values(part.catalogue, self.columns).tobytes() for part in self.parts] if self.columns else ""
        )
        images = [part.checksum() for part in self.parts], self.stretches
        labels = [list(part.labels(self.label)) for part in self.parts]
        return digest(self.network, network, self.arch, images, columns, labels)
