"""What the answers of a classifier are worth: the scores of a run, and bins of how sure it was."""

import numpy as np

from astro_ssl_nb.columns import as_labels

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "ece", "brier")
# Bins of confidence in the expected calibration error.
ECE_BINS = 10


def classification_scores(truth, probabilities, classes):
    """The scores of a run, a dict with the names in METRICS.

    Parameters
    ----------
    truth : array of N class names
    probabilities : ndarray of shape (N, K)
    classes : array of K class names

    Examples
    --------
    >>> sure = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> classification_scores(["A", "B"], sure, ["A", "B"])["brier"]
    0.0
    """
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

    truth, classes = as_labels(truth), np.asarray(classes)
    predicted, confidence = classes[probabilities.argmax(1)], probabilities.max(1)
    right = predicted == truth
    bins = confidence_bins(confidence)
    gaps = [abs(right[bins == k].sum() - confidence[bins == k].sum()) for k in range(ECE_BINS)]
    scores = (
        accuracy_score(truth, predicted),
        balanced_accuracy_score(truth, predicted),
        f1_score(truth, predicted, labels=np.unique(truth), average="macro"),
        sum(gaps) / len(truth),
        # Half the sum over classes, which for two is the score of the one: scikit-learn has two scales, and its order.
        ((probabilities - (classes == truth[:, None])) ** 2).sum(1).mean() / 2,
    )
    return dict(zip(METRICS, map(float, scores), strict=True))


def outcomes(truth, predicted):
    """Which objects were classified rightly, as text that a table can hold: a word a class, "." right and "x" wrong.

    Classes stand in their order, and the objects of one in theirs.

    Examples
    --------
    >>> outcomes(["B", "A", "B", "A", "B"], ["B", "B", "A", "A", "B"])
    'x. .x.'
    """
    truth = as_labels(truth)
    marks = np.where(as_labels(predicted) == truth, ".", "x")
    return " ".join("".join(marks[truth == name]) for name in np.unique(truth))


def read_outcomes(texts):
    """Of several runs on the same objects: for each class an array of shape (runs, objects), whether it was right.

    Raises
    ------
    ValueError
        If they are not of the same objects, as far as numbers tell.
    """
    runs = [text.split() for text in texts]
    sizes = {tuple(map(len, run)) for run in runs}
    if len(sizes) > 1:
        numbers = " and ".join(sorted(" + ".join(map(str, one)) for one in sizes))
        raise ValueError(f"the runs were scored on different test objects, {numbers}: give both sides one test set")
    return [np.array([list(word) for word in words]) == "." for words in zip(*runs, strict=True)]


def confidence_bins(confidence):
    """Which of ECE_BINS equal bins each confidence falls into, ndarray of int."""
    return np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
