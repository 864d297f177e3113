import numpy as np
import pytest
from sklearn.manifold import trustworthiness

import astro_ssl_nb as ssl
from astro_ssl_nb import unsupervised

LABELS = np.repeat(["A", "B"], 50)


def noise(n=100, d=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def two_far_clusters():
    return noise() + 10 * (LABELS == "A")[:, None]


def test_cluster_scores_find_what_is_there():
    assert ssl.cluster_scores(two_far_clusters(), LABELS, seeds=2).ari.min() == 1
    assert ssl.cluster_scores(noise(), LABELS, seeds=2).ari.max() < 0.2


def test_silhouette_tells_apart_far_mixed_and_swapped_classes():
    features = two_far_clusters()
    assert ssl.silhouette(features, LABELS) > 0.7
    assert abs(ssl.silhouette(noise(), LABELS)) < 0.1
    mislabelled = np.where(np.arange(100) % 50 < 20, LABELS[::-1], LABELS)
    assert ssl.silhouette(features, mislabelled) < 0.1
    with pytest.raises(ValueError, match="100 objects in 1 classes"):
        ssl.silhouette(features, ["A"] * 100)


def test_a_large_set_is_scored_on_a_sample_that_is_always_the_same(monkeypatch):
    features = two_far_clusters()
    full = ssl.silhouette(features, LABELS)
    monkeypatch.setattr(unsupervised, "SILHOUETTE_SAMPLE", 60)
    sampled = ssl.silhouette(features, LABELS)
    assert sampled == ssl.silhouette(features, LABELS)
    assert sampled != full and sampled == pytest.approx(full, abs=0.1)


def test_precision_counts_neighbours_and_never_the_object_itself():
    # 1 and 2 are nearest to each other and differ: an object that found itself would score 1.
    assert ssl.precision_at_k([[0.0], [1.0], [1.9], [3.0]], ["A", "A", "B", "B"], k=1) == 0.5
    assert ssl.precision_at_k([[0.0], [0.0], [5.0], [5.0]], ["A", "B", "A", "B"], k=1) == 0  # nor by way of its twin
    assert ssl.precision_at_k(two_far_clusters(), LABELS) == 1


def test_precision_weighs_classes_alike():
    # Ninety of one class all find their own; the two of the other find only the first class beyond each other.
    features = np.r_[np.linspace(0, 1, 90), 50, 50.1][:, None]
    labels = ["COMMON"] * 90 + ["RARE"] * 2
    assert ssl.precision_at_k(features, labels, k=2) == pytest.approx((1 + 0.5) / 2)
    for k in (0, 92):
        with pytest.raises(ValueError, match=f"92 objects do not have {k} neighbours each: take k from 1 to 91"):
            ssl.precision_at_k(features, labels, k=k)


def test_clusters_are_of_what_objects_are_like_and_not_of_the_few_brightest():
    rng = np.random.default_rng(0)
    kinds = np.array([[1.0, 1, -1], [-1, -1, 1]]).repeat(200, axis=0)
    features = rng.lognormal(0, 1.4, (400, 1)) * (kinds + 0.4 * rng.normal(size=kinds.shape))
    labels = np.array(["STAR", "GALAXY"]).repeat(200)
    assert ssl.cluster_scores(features, labels, seeds=3).ari.min() > 0.5


def test_scale_of_a_feature_does_not_matter():
    loud = two_far_clusters()
    loud[:, 3] = 1e4 * noise()[:, 3]
    assert ssl.precision_at_k(loud, LABELS) == 1
    assert ssl.cluster_scores(loud, LABELS, seeds=1).ari.min() == 1


def planted(d=6):
    features, flags = noise(200, d), np.zeros(200, bool)
    flags[[3, 77, 150]] = True
    features[flags] += 12 * np.eye(d)[:3]
    return features, flags


def test_planted_anomalies_are_found_within_the_budget():
    features, flags = planted()
    assert ssl.anomaly_recall(features, flags) == 1
    assert ssl.anomaly_recall(features, flags, budget=3) == 1
    assert ssl.anomaly_recall(features, flags, budget=1) == pytest.approx(1 / 3)


def test_the_ranking_does_not_see_the_flags():
    features, flags = planted()
    ordinary = np.zeros(200, bool)
    ordinary[np.argsort(np.linalg.norm(features, axis=1))[:3]] = True  # three from the middle of the crowd
    assert ssl.anomaly_recall(features, ordinary) == 0
    # Three that stand out and three that do not: half, whatever the flags say.
    assert ssl.anomaly_recall(features, flags | ordinary, budget=3) == 0.5


def test_columns_that_follow_from_others_do_not_hide_an_anomaly():
    # A ring with one object in its middle: two dimensions, however many columns say so.
    angle = np.linspace(0, 2 * np.pi, 200)
    ring = np.column_stack([np.cos(angle), np.sin(angle)]) + 0.03 * noise(200, 2)
    ring[60] = 0
    columns = ring @ noise(2, 40, seed=1)
    assert ssl.anomaly_recall(columns, np.arange(200) == 60, budget=1) == 1
    assert ssl.anomaly_recall(columns.astype(np.float32), np.arange(200) == 60, budget=1) == 1


def test_an_anomaly_may_hide_where_features_vary_little():
    # All columns say the same but for a small scatter, and one object breaks the rule by ten times that.
    features = noise(200, 1) + 0.05 * noise(200, 4, seed=1)
    features[60, 2] += 0.5
    assert ssl.anomaly_recall(features, np.arange(200) == 60, budget=1) == 1


def test_a_clump_of_look_alikes_is_no_anomaly():
    features, flags = noise(200), np.arange(200) < 12
    features[flags] = 5 + 0.01 * noise(12)
    assert ssl.anomaly_recall(features, flags, budget=12) == 0


def test_anomaly_requests_that_say_nothing_are_refused():
    features, flags = planted()
    with pytest.raises(ValueError, match="is_anomaly holds int64"):
        ssl.anomaly_recall(features, flags.astype(np.int64))
    with pytest.raises(ValueError, match="none of 200 objects is flagged"):
        ssl.anomaly_recall(features, np.zeros(200, bool))
    with pytest.raises(ValueError, match="10 objects are too few"):
        ssl.anomaly_recall(features[:10], flags[:10])
    for budget in (0, 200):
        with pytest.raises(ValueError, match=f"inspecting {budget} of 200 objects says nothing"):
            ssl.anomaly_recall(features, flags, budget=budget)
    with pytest.raises(ValueError, match="inspecting 400 of 200"):  # the default budget of flags on everything
        ssl.anomaly_recall(features, ~np.zeros(200, bool))


def test_many_features_give_the_same_answer_for_the_same_seed():
    # Wide enough for principal components that start from random numbers, and without structure that would pin them.
    features, flags = noise(70, 600), np.arange(70) < 25
    assert len({ssl.anomaly_recall(features, flags, budget=25, seed=1) for _ in range(4)}) == 1
    assert len({ssl.anomaly_recall(features, flags, budget=25, seed=seed) for seed in range(4)}) > 1
    np.testing.assert_array_equal(ssl.tsne_map(features, seed=1), ssl.tsne_map(features, seed=1))


def test_a_map_keeps_neighbours_and_depends_on_the_seed_alone():
    features = np.hstack([two_far_clusters()[25:75], noise(50, 60, seed=1)])
    drawn = ssl.tsne_map(features, seed=0)
    assert drawn.shape == (50, 2) and np.isfinite(drawn).all()
    np.testing.assert_array_equal(drawn, ssl.tsne_map(features, seed=0))
    assert ssl.precision_at_k(drawn, LABELS[25:75], k=5) > 0.9
    assert trustworthiness(features[:, :4], ssl.tsne_map(features[:, :4])) > 0.9


def test_a_map_of_next_to_nothing():
    assert ssl.tsne_map(noise(4, 2)).shape == (4, 2)
    for n, d in ((3, 2), (4, 1)):
        with pytest.raises(ValueError, match=f"{n} objects with {d} features need no map"):
            ssl.tsne_map(noise(n, d))


def test_the_report_holds_what_its_parts_say():
    features = noise(60, 3) + 1.5 * (LABELS[20:80] == "A")[:, None]
    labels = LABELS[20:80]
    report = ssl.representation_report(features, labels, seeds=2)
    clusters = ssl.cluster_scores(features, labels, seeds=2)
    clusters["nmi_lengths"] = ssl.cluster_scores(features, labels, seeds=2, lengths=True).nmi
    assert report == {
        **{name: clusters[name].mean() for name in ("nmi", "nmi_lengths", "ari")},
        **{f"{name}_low": clusters[name].min() for name in ("nmi", "nmi_lengths", "ari")},
        **{f"{name}_high": clusters[name].max() for name in ("nmi", "nmi_lengths", "ari")},
        "silhouette": ssl.silhouette(features, labels),
        "precision_at_10": ssl.precision_at_k(features, labels, k=10),
    }
    assert report["nmi"] != report["nmi_lengths"] and max(report.values()) < 1  # classes overlap here
    table = ssl.score_table({"noise": report})
    assert table.loc["noise", "precision at 10"] == f"{report['precision_at_10']:.3f}"
    assert report["nmi_low"] < report["nmi"] < report["nmi_high"], "each seed looks at other objects"


@pytest.mark.parametrize("score", [ssl.cluster_scores, ssl.silhouette, ssl.precision_at_k, ssl.anomaly_recall])
def test_features_that_cannot_be_scored_are_refused(score):
    features, flags = planted()
    with pytest.raises(ValueError, match=r"features of 200 objects came with labels or flags of shape \(199,\)"):
        score(features, flags[1:])
    with pytest.raises(ValueError, match=r"features have shape \(200,\)"):
        score(features[:, 0], flags)
    features[5, 1] = np.nan
    with pytest.raises(ValueError, match="features of 1 of 200 objects are not finite"):
        score(features, flags)


def test_an_unknown_label_is_no_class_of_a_score():
    features, labels = noise(40, 3), np.ma.masked_equal(np.where(np.arange(40) < 4, "", LABELS[:40]), "")
    for score in (ssl.cluster_scores, ssl.silhouette, ssl.precision_at_k):
        with pytest.raises(ValueError, match="4 of 40 labels are unknown.*leave these objects out"):
            score(features, labels)
    with pytest.raises(ValueError, match="4 of 40 labels are unknown"):
        ssl.labelled_subset(labels, 2, seed=0)
    with pytest.raises(ValueError, match="4 of 40 labels are unknown"):
        ssl.figures.plot_map(features[:, :2], labels)
