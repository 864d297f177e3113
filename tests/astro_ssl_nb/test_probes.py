import numpy as np
import pytest

from astro_ssl_nb.probes import as_linear_layer, frozen_probabilities, knn_probe, linear_probe, with_views


@pytest.fixture
def clouds():
    """Features of 3 overlapping classes: few labels, and many to test."""
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 1, (3, 6))
    y, y_test = np.repeat([0, 1, 2], 5), np.repeat([0, 1, 2], 100)
    return centres[y] + rng.normal(0, 1, (15, 6)), y, centres[y_test] + rng.normal(0, 1, (300, 6))


@pytest.mark.parametrize("probe", ["linear", "knn"])
def test_a_probe_does_not_care_what_classes_are_called(clouds, probe):
    x, y, x_test = clouds
    said = []
    for names in (np.array(["A", "B", "C"]), np.array(["C", "B", "A"])):
        probabilities = frozen_probabilities(probe, x, names[y], x_test, size=5, seed=0)
        said.append([list(names).index(name) for name in np.unique(names)[probabilities.argmax(1)]])
    assert np.mean(np.array(said[0]) == said[1]) > 0.99  # what is left are ties of one object


@pytest.mark.parametrize("probe", ["linear", "knn"])
def test_features_and_columns_are_asked_apart_and_averaged(clouds, probe):
    x, y, x_test = clouds
    columns, columns_test = x[:, :2].copy(), x_test[:, :2]
    columns[3, 0] = np.nan  # a catalogue has gaps
    options = {"size": 5, "seed": 0}
    alone = frozen_probabilities(probe, x, y, x_test, **options)
    other = frozen_probabilities(probe, columns, y, columns_test, columns=2, **options)
    both = frozen_probabilities(
        probe, np.hstack([x, columns]), y, np.hstack([x_test, columns_test]), columns=2, **options
    )
    np.testing.assert_allclose(both, (alone + other) / 2)
    with pytest.raises(ValueError, match="NaN"):
        frozen_probabilities(probe, columns, y, columns_test, **options)


@pytest.mark.parametrize(("size", "most"), [(2, 1), (5, 3), (10, 5), (20, 9)])
def test_no_more_neighbours_are_asked_than_a_class_has_in_a_fold(size, most):
    y = np.repeat([0, 1], size)
    probe = knn_probe(size, seed=0).fit(np.random.default_rng(0).normal(0, 1, (2 * size, 3)), y)
    assert probe[-1].cv_results_["param_n_neighbors"].max() == most


def test_a_tie_of_the_control_goes_to_boosting():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 5)
    x = y[:, None] * 10 + rng.normal(size=(10, 1))  # which both candidates tell apart without a fault
    probe = linear_probe(5, seed=0, columns=True).fit(x, y)
    assert type(probe.best_estimator_[-1]).__name__ == "GradientBoostingClassifier"


def test_views_that_are_the_labels_themselves_give_the_probe_itself(clouds):
    x, y, _ = clouds
    probe = linear_probe(5, seed=0).fit(x, y)
    eight_times = with_views(probe, x, y, np.tile(x, (8, 1)), np.tile(y, 8))
    for one, other in zip(as_linear_layer(probe), as_linear_layer(eight_times), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)
