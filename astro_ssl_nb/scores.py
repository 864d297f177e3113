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


def confidence_bins(confidence):
    """Which of ECE_BINS equal bins each confidence falls into, ndarray of int."""
    return np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
