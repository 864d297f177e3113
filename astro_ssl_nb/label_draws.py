"""Which objects lend their labels, and whether a score on others would mean anything."""

import warnings

import numpy as np

from astro_ssl_nb.columns import as_labels, learnable_classes, refuse_strangers


def labelled_subset(labels, size, seed):
    """Rows of `size` objects per class, drawn at random; subsets of one seed are nested in size.

    Parameters
    ----------
    labels : array of N class names
    size : int
        Labels per class.
    seed : int

    Raises
    ------
    ValueError
        If `size` is less than 1, a class has fewer objects than that, or a label is unknown.

    Examples
    --------
    >>> labels = np.array(["STAR", "QSO"] * 50)
    >>> few, more = labelled_subset(labels, 5, seed=0), labelled_subset(labels, 10, seed=0)
    >>> len(few), len(more), set(few) <= set(more)
    (10, 20, True)
    """
    if size < 1:
        raise ValueError(f"{size} labels per class were asked for: take 1 or more")
    rng, labels = np.random.default_rng(seed), as_labels(labels)
    names, counts = np.unique(labels, return_counts=True)
    if counts.min() < size:
        rarest = names[counts.argmin()]
        raise ValueError(
            f"{size} labels per class were asked for, but class {str(rarest)!r} has {counts.min()} training objects: "
            "ask for fewer, or fetch more"
        )
    return np.sort(np.concatenate([rng.permutation(np.flatnonzero(labels == name))[:size] for name in names]))


def check_draws(labels, sizes, seeds):
    """Seeds must draw different labels: their scatter is what intervals are made of."""
    names, counts = np.unique(labels, return_counts=True)
    rarest, size = int(counts.min()), max(sizes)
    if seeds < 2 or size <= rarest / 2:
        return
    said = f"{size} of the {rarest} training objects of class {str(names[counts.argmin()])!r}"
    if size == counts.max():
        raise ValueError(f"all {seeds} seeds would draw {said}, and all of every other class: ask for fewer labels")
    warnings.warn(
        f"each seed draws {said}: most of them are the same for all seeds, so intervals are too narrow", stacklevel=3
    )


def checked_labels(train, test, label):
    """The labels of both sets, if a score of the one after training on the other would mean anything."""
    y_train, y_test = train.labels(label), test.labels(label)
    refuse_strangers(y_test, learnable_classes(y_train))
    ids = [set(np.asarray(part.catalogue["objid"]).astype(str)) for part in (train, test)]
    shared = sorted(ids[0] & ids[1])
    if shared and not _only_numbered((train, test), shared[0]):
        raise ValueError(
            f"{len(shared)} objects are in the training set and in the test set (objid {shared[0]} first): take two "
            "parts of one `split`, or give the objects of two sets an `objid` of their own"
        )
    return y_train, y_test


def _only_numbered(parts, shared):
    """Whether an id that two sets share is the number that rows without an id get, and of another object in each."""
    rows = [int(np.flatnonzero(np.asarray(part.catalogue["objid"]).astype(str) == shared)[0]) for part in parts]
    images = [part.read([row]) for part, row in zip(parts, rows, strict=True)]
    return all(part.card.get("numbered") for part in parts) and not np.array_equal(*images)
