"""What a label curve says: means with intervals, paired differences, label efficiency, on made-up curves."""

import numpy as np
import pandas as pd
import pytest

import astro_ssl_nb as ssl
from astro_ssl_nb.scores import outcomes


def made_up(scores, probe="finetune", spread=0.001, seeds=3):
    rows = [
        (arm, probe, n, seed, score + spread * seed)
        for arm, by_size in scores.items()
        for n, score in by_size.items()
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows, columns=["arm", "probe", "n_labels", "seed", "accuracy"])


def test_label_efficiency_counts_the_labels_that_the_baseline_needs():
    curve = made_up({"pretext": {5: 0.8, 20: 0.95, 40: 0.5}, "scratch": {5: 0.6, 20: 0.8}})
    table = ssl.label_efficiency(curve).set_index("n_labels")
    assert table.efficiency.tolist() == pytest.approx([4, 1, 1 / 8])
    assert table.lower_bound.tolist() == [False, True, False]
    assert table.upper_bound.tolist() == [False, False, True]
    named = ssl.label_efficiency(curve.replace({"arm": {"pretext": "mine", "scratch": "theirs"}}), "mine", "theirs")
    pd.testing.assert_frame_equal(named, ssl.label_efficiency(curve))
    with pytest.raises(ValueError, match="no run of arm 'imagenet'"):
        ssl.label_efficiency(curve, baseline="imagenet")
    with pytest.raises(ValueError, match="no run of arm 'pretext' with probe 'linear': choose from .*'finetune'"):
        ssl.label_efficiency(curve, probe="linear")


def test_a_baseline_that_stands_still_has_spent_its_labels():
    curve = made_up({"pretext": {5: 0.81}, "scratch": {5: 0.8, 10: 0.7, 25: 0.8, 60: 0.9}}, spread=0)
    assert ssl.label_efficiency(curve).efficiency.item() == pytest.approx(5 * (60 / 25) ** 0.1)


def test_a_baseline_that_dips_by_chance_keeps_what_it_has_reached():
    curve = made_up({"pretext": {10: 0.75}, "scratch": {5: 0.6, 10: 0.8, 20: 0.7, 40: 0.74}}, spread=0)
    row = ssl.label_efficiency(curve).iloc[0]
    assert row.efficiency == pytest.approx(5 * 2**0.75 / 10) and not row.lower_bound


def test_a_score_that_a_baseline_keeps_from_the_start_is_worth_its_fewest_labels():
    curve = made_up({"pretext": {5: 0.8}, "scratch": {5: 0.8, 10: 0.8, 25: 0.8, 60: 0.9}}, spread=0)
    row = ssl.label_efficiency(curve).iloc[0]
    assert row.efficiency == pytest.approx(1) and not row.upper_bound


def test_the_same_scores_in_another_order_are_as_good():
    curve = made_up({"pretext": {5: 0.5}, "scratch": {5: 0.5}}, spread=0, seeds=5)
    scores = [0.1, 0.2, 0.3, 0.4, 0.7]
    for order in (scores, scores[::-1], scores[2:] + scores[:2], [0.7, 0.1, 0.4, 0.2, 0.3]):
        curve["accuracy"] = scores + order
        row = ssl.label_efficiency(curve).iloc[0]
        assert row.efficiency == pytest.approx(1) and not row.lower_bound and not row.upper_bound


def test_a_label_efficiency_pairs_the_seeds_by_their_number():
    ours, theirs = made_up({"pretext": {5: 0.8, 20: 0.9}}), made_up({"scratch": {5: 0.7, 20: 0.8}})
    both = pd.concat([ours, theirs.assign(seed=theirs.seed + 1)])
    shared = pd.concat([ours[ours.seed > 0], theirs.assign(seed=theirs.seed + 1).query("seed < 3")])
    pd.testing.assert_frame_equal(ssl.label_efficiency(both), ssl.label_efficiency(shared))
    with pytest.raises(ValueError, match="no seed in common"):
        ssl.label_efficiency(pd.concat([ours, theirs.assign(seed=theirs.seed + 3)]))


def test_the_interval_of_a_label_efficiency_is_over_seeds():
    seen = [0.65, 0.69, 0.70, 0.71, 0.75]
    curve = made_up({"pretext": {5: 0.7}, "scratch": {5: 0.6, 20: 0.8}}, spread=0, seeds=5)
    curve.loc[curve.arm == "pretext", "accuracy"] = seen
    row = ssl.label_efficiency(curve).iloc[0]
    # Below lies the draw of the worst seed alone, one of 3,125; beyond a quarter of the way there lie few.
    assert row.efficiency == pytest.approx(2)
    assert 2**0.5 < row.low < 2**0.7 and 2**1.3 < row.high < 2**1.5
    four = ssl.label_efficiency(curve[curve.seed < 4]).iloc[0]
    assert np.isnan([four.low, four.high]).all(), "four seeds have no draw as rare as the ends of an interval"
    short = made_up({"pretext": {5: 0.7}, "scratch": {5: 0.69, 20: 0.72}}, spread=0, seeds=5)
    short.loc[short.arm == "pretext", "accuracy"] = seen
    row = ssl.label_efficiency(short).iloc[0]
    assert not row.lower_bound and np.isnan([row.low, row.high]).all(), "both ends lie beyond the baseline's curve"
    alone = ssl.label_efficiency(curve[curve.seed == 0]).iloc[0]
    assert alone.efficiency == pytest.approx(2**0.5) and np.isnan([alone.low, alone.high]).all()


def test_the_interval_of_a_label_efficiency_holds_the_truth_as_often_as_it_says():
    rng, sizes = np.random.default_rng(0), np.array([5, 10, 25, 60])
    truth = 3.0  # scratch rises by 0.1 each time that its labels are doubled
    held = []
    for _ in range(100):
        theirs = 0.5 + 0.1 * np.log2(sizes / 5) + rng.normal(0, 0.04, (5, 4))
        ours = 0.5 + 0.1 * np.log2(10 * truth / 5) + rng.normal(0, 0.02, 5)
        rows = [("scratch", size, seed, theirs[seed, k]) for seed in range(5) for k, size in enumerate(sizes)]
        rows += [("pretext", 10, seed, ours[seed]) for seed in range(5)]
        curve = pd.DataFrame(rows, columns=["arm", "n_labels", "seed", "accuracy"]).assign(probe="finetune")
        row = ssl.label_efficiency(curve).iloc[0]
        held.append(not (row.low > truth or row.high < truth))  # an end that is unknown excludes nothing
    assert np.mean(held) >= 0.9  # plain percentiles of five seeds do so 0.83 of the time


def test_an_arm_is_as_label_efficient_as_itself_whatever_its_probes_scored_by_chance():
    rng = np.random.default_rng(0)
    curves = [made_up({"pretext": dict(zip((5, 10, 20), (0.6, 0.7, 0.8), strict=True))}, probe) for probe in "ab"]
    ours = pd.concat(curves).assign(accuracy=lambda runs: runs.accuracy + rng.normal(0, 0.01, len(runs)))
    curve = pd.concat([ours, ours[ours.probe == "a"].assign(arm="scratch")])
    assert ssl.label_efficiency(curve, probe="a").efficiency.tolist() == pytest.approx([1, 1, 1])


def test_an_interval_of_a_score_stays_a_score():
    curve = made_up({"pretext": {5: 0.95}}, spread=0.025)  # to 1.0
    row = ssl.mean_intervals(curve).iloc[0]
    assert row["mean"] == pytest.approx(0.975) and 0 < row.low < 0.95 and 0.975 < row.high < 1
    assert ssl.mean_interval(curve.accuracy)[2] > 1
    assert ssl.mean_interval([1.0, 1.0, 1.0], score=True) == (1, 1, 1)
    half = ssl.mean_interval([0.49, 0.5, 0.51], score=True)  # where no end is near it is Student's
    np.testing.assert_allclose(half, ssl.mean_interval([0.49, 0.5, 0.51]), atol=1e-4)
    with pytest.raises(ValueError, match="scores go from 2 to 90"):
        ssl.mean_interval([2, 90], score=True)


def test_pairs_without_a_number_of_labels_in_common_are_refused():
    rows = [("a", 5), ("b", 10)]
    curve = pd.DataFrame([(arm, "knn", n, seed, 0.5) for arm, n in rows for seed in (0, 1)])
    curve.columns = ["arm", "probe", "n_labels", "seed", "accuracy"]
    with pytest.raises(ValueError, match="a knn and b knn have no number of labels in common"):
        ssl.paired_differences(curve, [(("a", "knn"), ("b", "knn"))])


def test_differences_are_paired_by_seed():
    curve = made_up({"pretext": {5: 0.8}, "scratch": {5: 0.7}}, "linear")
    pair = ("pretext", "linear"), ("scratch", "linear")
    mean, low, high = ssl.paired_difference(curve, *pair, n_labels=5)
    assert mean == pytest.approx(0.1) and high - low == pytest.approx(0, abs=1e-9)
    same = curve.assign(accuracy=(200 + 7 * curve.seed - 3 * (curve.arm == "scratch")) / 240)
    assert ssl.paired_differences(same, [pair]).holds.item() == "open", "draws that do not differ are no evidence"
    strangers = curve.assign(seed=np.where(curve.arm == "pretext", curve.seed, curve.seed + 9))
    with pytest.raises(ValueError, match="no seed in common at 5 labels"):
        ssl.paired_difference(strangers, *pair, n_labels=5)
    with pytest.raises(ValueError, match="no run of arm 'imagenet'"):
        ssl.paired_difference(curve, ("imagenet", "linear"), ("scratch", "linear"), n_labels=5)


def of_equal_arms(rng, n_draws=20, n_objects=200):
    """A curve of two arms that are equally good at large: each finds some objects hard, and never the same ones."""
    truth, rows = np.repeat(["A", "B"], [n_objects // 2, n_objects // 2]), []
    for arm in ("pretext", "scratch"):
        likely = 1 / (1 + np.exp(-rng.normal(2, 2, n_objects)))
        for seed in range(n_draws):
            right = rng.random(n_objects) < likely
            text = outcomes(truth, np.where(right, truth, "C"))
            rows.append((arm, "linear", 5, seed, right.mean(), right.mean(), text))
    names = ["arm", "probe", "n_labels", "seed", "accuracy", "balanced_accuracy", "outcomes"]
    return pd.DataFrame(rows, columns=names)


def test_equal_arms_are_rarely_told_apart_by_the_objects_of_one_test_set():
    rng, pair = np.random.default_rng(0), (("pretext", "linear"), ("scratch", "linear"))
    curves = [of_equal_arms(rng) for _ in range(150)]

    def told_apart(curve):
        return ssl.paired_differences(curve, [pair], metric="balanced_accuracy").holds.item() != "open"

    assert np.mean([told_apart(curve) for curve in curves]) < 0.1
    of_draws = np.mean([told_apart(curve.drop(columns="outcomes")) for curve in curves])
    assert of_draws > 0.3, "these are curves that draws of labels alone would misjudge"


def test_an_interval_of_draws_and_objects_is_that_of_draws_where_objects_do_not_matter():
    rng, rows = np.random.default_rng(0), []
    for seed, share in enumerate(rng.uniform(0.7, 0.9, 10)):  # what differs is the draw alone, for all objects alike
        for arm, likely in (("pretext", share), ("scratch", 0.7)):
            right = rng.permutation(4000) < 4000 * likely
            rows.append((arm, "linear", 5, seed, right.mean(), " ".join(["".join(np.where(right, ".", "x"))] * 2)))
    curve = pd.DataFrame(rows, columns=["arm", "probe", "n_labels", "seed", "accuracy", "outcomes"])
    pair = ("pretext", "linear"), ("scratch", "linear")
    partly = curve.assign(outcomes=curve.outcomes.where(curve.arm == "pretext"))  # beside a table of another hand
    both, alone, half = (
        ssl.paired_difference(one, *pair, n_labels=5) for one in (curve, curve.drop(columns="outcomes"), partly)
    )
    assert half == alone
    np.testing.assert_allclose(both, alone, atol=0.003)
    assert both[2] - both[0] >= alone[2] - alone[0] - 1e-12


def test_sides_that_were_scored_on_other_objects_are_refused():
    curve = of_equal_arms(np.random.default_rng(0), 3)
    shorter = curve.outcomes.where(curve.arm == "pretext", curve.outcomes.str[:-1])
    with pytest.raises(ValueError, match=r"different test objects, 100 \+ 100 and 100 \+ 99: give both sides one test"):
        ssl.paired_difference(curve.assign(outcomes=shorter), ("pretext", "linear"), ("scratch", "linear"), n_labels=5)


def test_a_difference_is_of_the_metric_asked_for_and_its_verdict_has_its_sign():
    curve = made_up({"pretext": {5: 0.9}, "scratch": {5: 0.7}}, "linear")
    curve["accuracy"] += np.random.default_rng(0).normal(0, 0.01, len(curve))
    curve["macro_f1"] = 1 - curve.accuracy
    pair = ("pretext", "linear"), ("scratch", "linear")
    assert ssl.paired_differences(curve, [pair]).holds.item() == "yes"
    assert ssl.paired_differences(curve, [pair], metric="macro_f1").holds.item() == "the reverse"
    mean, low, high = ssl.paired_difference(curve, *pair, n_labels=5)
    assert ssl.paired_difference(curve, *pair, n_labels=5, metric="macro_f1") == pytest.approx((-mean, -high, -low))
    means = [ssl.mean_intervals(curve, name)["mean"] for name in ("accuracy", "macro_f1")]
    np.testing.assert_allclose(means[0] + means[1], 1)


def test_a_table_of_verdicts_shows_half_of_each_interval():
    rows = {
        "task": "SG",
        "better": "pretext linear",
        "worse": "scratch linear",
        "n_labels": [5, 10],
        "mean": [0.1, 0.2],
    }
    table = pd.DataFrame({**rows, "low": [0.02, np.nan], "high": [0.18, np.nan], "holds": ["yes", "open"]})
    assert ssl.verdict_table(table).iloc[0].tolist() == ["+0.100 ± 0.080 yes", "+0.200 (one seed) open"]
