import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from astropy.table import MaskedColumn

import astro_ssl_nb as ssl
from astro_ssl_nb import finetuning


@pytest.fixture(scope="module", autouse=True)
def short_fine_tunings():
    """A fifth of their steps: what is tested here holds from the first step on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetuning, "STEPS", 5)
        yield


@pytest.fixture(scope="module")
def curve(parts, backbone, short_fine_tunings):
    train, _, test = parts
    arms = {"pretext": backbone, "scratch": None, "photometry": ssl.MAGNITUDES, "sizes": ssl.SIZES[:2]}
    arms |= {"both": (backbone, ssl.SIZES[:2]), "apertures": "apertures"}
    return ssl.label_curve(train, test, arms=arms, sizes=(3, 12), seeds=2, arch="resnet10t")


def test_a_row_a_run(curve):
    names = ["arm", "probe", "n_labels", "seed", "accuracy", "balanced_accuracy", "macro_f1", "ece", "brier", "seconds"]
    names.append("outcomes")
    assert list(curve.columns) == names
    runs = curve.groupby(["arm", "probe"]).size().to_dict()
    arms = ("pretext", "scratch", "photometry", "sizes", "both", "apertures")
    frozen = {(arm, probe): 4 for arm in arms for probe in ("linear", "knn")}
    assert runs == frozen | {("pretext", "finetune"): 4, ("scratch", "finetune"): 4}
    assert curve.seconds.gt(0).all() and curve.accuracy.between(0, 1).all()


def test_the_outcomes_of_a_run_are_those_of_its_test_objects(curve, parts):
    words = curve.outcomes.str.split()
    numbers = np.unique(parts[2].labels("class"), return_counts=True)[1].tolist()
    assert all(list(map(len, word)) == numbers for word in words)
    shares = np.array([[part.count(".") / len(part) for part in word] for word in words])
    np.testing.assert_allclose(shares.mean(axis=1), curve.balanced_accuracy)
    np.testing.assert_allclose(shares @ numbers / sum(numbers), curve.accuracy)


def test_the_control_knows_only_its_columns(curve):
    means = curve[(curve.n_labels == 12) & (curve.probe == "linear")].groupby("arm").accuracy.mean()
    assert means["sizes"] == 1.0  # the classes are widths, and this arm is given the width
    assert means["photometry"] < 0.65  # magnitudes say nothing about them
    assert means["pretext"] > 0.75
    assert means["both"] > 0.95  # features and the width, side by side
    assert means["apertures"] > 0.95  # the width is in how the light grows outwards


def test_fine_tuning_is_not_worse_than_the_linear_probe(curve):
    means = curve[curve.arm == "pretext"].groupby("probe").accuracy.mean()
    assert means["finetune"] > means["linear"] - 0.02


def test_a_probe_as_a_layer_says_what_the_probe_says(parts, backbone):
    from astro_ssl_nb.probes import as_linear_layer, linear_probe

    train, _, test = parts
    rows = ssl.labelled_subset(train.labels("class"), 6, seed=0)
    features = ssl.embed(backbone, train)[rows]
    for names in (train.labels("class")[rows], np.array(["A", "B", "C"] * 4)):
        probe = linear_probe(4, seed=0).fit(features, names)
        weight, bias = as_linear_layer(probe)
        scores = ssl.embed(backbone, test) @ weight.T + bias
        softmax = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        np.testing.assert_allclose(softmax, probe.predict_proba(ssl.embed(backbone, test)), atol=1e-4)


def test_a_network_that_keeps_nothing_of_its_move_is_the_backbone_under_a_probe_that_has_seen_views(
    parts, backbone, monkeypatch
):
    from astro_ssl_nb.probes import as_linear_layer, linear_probe

    train, _, _ = parts
    few = train[ssl.labelled_subset(train.labels("class"), 6, seed=0)]
    before = torch.get_rng_state()
    moved = ssl.few_shot_learner(few, weights=backbone)
    monkeypatch.setattr(finetuning, "KEPT", 0.0)
    still = ssl.few_shot_learner(few, weights=backbone)
    assert torch.equal(torch.get_rng_state(), before)
    saved, ours, theirs = (
        torch.cat([value.flatten() for name, value in network.state_dict().items() if "num_batches" not in name])
        for network in (ssl.load_backbone(backbone)[0], still.model[0].cpu(), moved.model[0].cpu())
    )
    assert torch.equal(ours, saved) and not torch.allclose(theirs, saved)
    plain = as_linear_layer(linear_probe(6, seed=0).fit(ssl.embed(backbone, few), few.labels("class")))[0]
    head = still.model[1].weight.detach().cpu().numpy()
    assert torch.equal(still.model[1].weight, moved.model[1].weight), "the head stays as it is"
    assert np.corrcoef(head[0], plain[0])[0, 1] > 0.5 and not np.allclose(head, plain, atol=1e-3)


def test_fine_tuning_moves_early_stages_the_slowest_and_leaves_the_norms_their_statistics(parts, backbone):
    few = parts[0][ssl.labelled_subset(parts[0].labels("class"), 3, seed=0)]
    learn = ssl.few_shot_learner(few, weights=backbone)
    *stages, head = (group["lr"] for group in learn.opt.hypers)
    assert head == 0 and len(stages) > 3 and (np.diff(stages) > 0).all()
    before, after = (network.state_dict() for network in (ssl.load_backbone(backbone)[0], learn.model[0].cpu()))
    kept = {name for name, value in before.items() if torch.equal(value, after[name])}
    assert kept == {name for name in before if "running" in name or "num_batches" in name}


@pytest.mark.parametrize("pretrained", [True, False])
def test_a_few_shot_learner_is_a_learner_that_has_seen_all_its_labels(blobs, backbone, pretrained, monkeypatch):
    monkeypatch.setattr(finetuning, "STEPS", 2)  # so that there are more labels than steps show
    weights = {"weights": backbone} if pretrained else {"arch": "resnet10t"}
    learn = ssl.few_shot_learner(blobs[:150], **weights)
    assert set(learn.dls.train.cutouts.catalogue["objid"]) == set(blobs.catalogue["objid"][:150])
    probabilities, truth = learn.get_preds(dl=learn.dls.test_dl(blobs[150:]))
    assert probabilities.shape == (150, 2) and truth is None
    assert (probabilities.sum(1) - 1).abs().max() < 1e-5
    with learn.no_bar(), learn.no_logging():
        assert np.isfinite(learn.validate()[0])


def test_apertures_do_not_choose_between_backbones_of_different_stretch(parts, backbone, tmp_path):
    train, _, test = parts
    dls = ssl.CutoutDataLoaders.for_properties(train, train, ssl.MAGNITUDES, stretch="bands")
    bands = ssl.save_backbone(ssl.property_learner(dls, "resnet10t"), tmp_path / "bands.safetensors")
    arms = {"colours": backbone, "bands": bands, "apertures": "apertures"}
    options = dict(probes=("linear",), sizes=(5,), seeds=1)
    with pytest.raises(ValueError, match=r"different stretch \(bands, rgb\): give one"):
        ssl.label_curve(train, test, arms=arms, **options)
    curve = ssl.label_curve(train, test, arms=arms, stretch="bands", **options)
    assert set(curve.arm) == set(arms)


def test_a_row_without_a_label_is_spoken_of_before_anything_is_trained(blobs):
    names = np.ma.array(blobs[:12].labels("class"), mask=np.arange(12) == 5)
    part = blobs[:12].with_columns(**{"class": MaskedColumn(names)})
    with pytest.raises(ValueError, match=r"1 of 12 rows have no 'class': take .* cutouts.labelled\('class'\)"):
        ssl.few_shot_learner(part, arch="resnet10t")
    assert len(part.labelled("class")) == 11
    with pytest.raises(KeyError, match="no label column 'klass'"):
        part.labelled("klass")


def test_a_few_shot_learner_sees_its_classes_equally_often_in_whatever_order_they_come(blobs, monkeypatch):
    monkeypatch.setattr(finetuning, "EPOCHS", 1)
    monkeypatch.setattr(finetuning, "STEPS", 25)
    in_order = blobs[np.argsort(blobs.labels("class"), kind="stable")]
    few = in_order[ssl.labelled_subset(in_order.labels("class"), 127, seed=0)]  # 800 are three passes and a bit
    few = few[np.argsort(few.labels("class"), kind="stable")]
    learn = ssl.few_shot_learner(few, arch="resnet10t")
    seen = np.bincount(learn.dls.train.targets.numpy())
    assert seen.sum() == 800 and abs(seen[0] - seen[1]) < 30


def test_an_interrupted_curve_goes_on_where_it_was(parts, tmp_path):
    train, _, test = parts
    arms = {"scratch": None, "sizes": ssl.SIZES[:2]}
    options = {"arms": arms, "probes": ("linear",), "seeds": 2, "arch": "resnet10t"}
    whole = ssl.label_curve(train, test, sizes=(3, 6), cache=tmp_path / "whole", **options)

    log = tmp_path / "cut" / "runs.jsonl"
    begun = ssl.label_curve(train, test, sizes=(3,), cache=log.parent, **options)
    torn = log.read_text() + '\n["half a li'
    log.write_text(torn)
    again = ssl.label_curve(train, test, sizes=(3, 6), cache=log.parent, **options)
    kept = again[again.n_labels == 3].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, begun)  # to the second
    pd.testing.assert_frame_equal(again.drop(columns="seconds"), whole.drop(columns="seconds"))
    done = log.read_text()
    assert done.startswith(torn) and added(torn, done) == len(whole) - len(begun) == 4
    for sizes in ((3, 6), np.array([3, 6])):
        pd.testing.assert_frame_equal(ssl.label_curve(train, test, sizes=sizes, cache=log.parent, **options), again)
        assert log.read_text() == done
    relabelled = test[:]
    relabelled.catalogue["class"] = test.labels("class")[::-1]
    ssl.label_curve(train, relabelled, sizes=(3, 6), cache=log.parent, **options)
    assert added(done, log.read_text()) == len(whole), "other labels are another curve"


def added(before, after):
    return len(after.splitlines()) - len(before.splitlines())


def test_a_cache_gives_nothing_of_other_images_columns_weights_versions_or_sources(
    parts, backbone, learn, tmp_path, monkeypatch
):
    train, _, test = parts
    log, kept = tmp_path / "cache" / "runs.jsonl", Path(shutil.copy(backbone, tmp_path / "kept.safetensors"))
    options = {"arms": {"pretext": kept, "sizes": ssl.SIZES[:2]}, "probes": ("knn",), "sizes": (3,), "seeds": 1}

    def new_runs(train=train, test=test):
        before = log.read_text() if log.exists() else ""
        ssl.label_curve(train, test, cache=log.parent, **options)
        return added(before, log.read_text())

    assert (new_runs(), new_runs()) == (2, 0)
    assert new_runs(test=ssl.CutoutSet.from_arrays(0.5 * test.images, test.catalogue)) == 2
    assert new_runs(train=train.with_columns(petroR50_r=2 * train.catalogue["petroR50_r"])) == 1, "the arm of columns"
    ssl.save_backbone(ssl.property_learner(learn.dls, "resnet10t"), kept)  # another network under the same name
    assert new_runs() == 1
    for what in ("version", "file_digest"):  # of the packages, and of the sources here
        with monkeypatch.context() as changed:
            changed.setattr(f"astro_ssl_nb.caches.{what}", lambda name: "another")
            assert new_runs() == 2


def test_a_curve_that_fails_keeps_the_runs_that_it_finished(parts, tmp_path):
    train, _, test = parts
    images = test.images.copy()
    images[4, 2, 3, 3] = np.nan  # which no network can look at, while columns do not need it
    arms = {"sizes": ssl.SIZES[:2], "scratch": None}
    options = {"arms": arms, "probes": ("linear",), "sizes": (3,), "seeds": 2, "arch": "resnet10t"}
    with pytest.raises(ValueError, match="1 of 90 cutouts"):
        ssl.label_curve(train, ssl.CutoutSet.from_arrays(images, test.catalogue), cache=tmp_path, **options)
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) == 2


def test_probes_are_the_same_alone_side_by_side_and_under_two_names(parts, backbone, tmp_path, monkeypatch):
    train, _, test = parts
    arms = {"pretext": backbone, "again": backbone, "scratch": None}
    options = {"probes": ("linear", "knn", "finetune"), "sizes": (3,), "seeds": 1, "arch": "resnet10t"}
    monkeypatch.setattr(finetuning, "STEPS", 25)  # as other processes have it
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "2")
    side_by_side = ssl.label_curve(train, test, arms=arms, cache=tmp_path / "cache", **options)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    alone = ssl.label_curve(train, test, arms=arms, **options)
    pd.testing.assert_frame_equal(side_by_side.drop(columns="seconds"), alone.drop(columns="seconds"))
    first, second = (alone[alone.arm == name].brier.tolist() for name in ("pretext", "again"))
    assert first == second and first != alone[alone.arm == "scratch"].brier.tolist()


def test_probabilities_are_those_that_the_curve_scores(curve, parts, backbone):
    train, _, test = parts
    said = ssl.few_shot_probabilities(train, test, weights=backbone, size=12, seed=1, arch="resnet10t")
    assert list(said.columns) == ["NARROW", "WIDE"] and np.allclose(said.sum(axis=1), 1)
    row = curve[(curve.arm == "pretext") & (curve.probe == "linear") & (curve.n_labels == 12) & (curve.seed == 1)]
    assert (said.idxmax(axis=1) == test.labels("class")).mean() == row.accuracy.item()


def test_scores_of_known_answers():
    truth = np.array(["A"] * 8 + ["B"] * 2)
    modest = np.tile([0.8, 0.2], (10, 1))
    scores = ssl.classification_scores(truth, modest, ["A", "B"])
    assert scores["accuracy"] == pytest.approx(0.8) and scores["balanced_accuracy"] == pytest.approx(0.5)
    assert scores["ece"] == pytest.approx(0) and scores["brier"] == pytest.approx(0.16)
    assert ssl.classification_scores(truth, np.tile([1.0, 0.0], (10, 1)), ["A", "B"])["ece"] == pytest.approx(0.2)
    three = ssl.classification_scores(["A", "B", "C"], np.eye(3), ["A", "B", "C"])
    assert three["brier"] == 0 and three["macro_f1"] == 1
    one_wrong = np.repeat([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]], [50, 49, 1], axis=0)
    of_two = ssl.classification_scores(["A"] * 50 + ["B"] * 50, one_wrong, ["A", "B", "C"])
    assert of_two["macro_f1"] > 0.99, "a class that is not there counts for nothing"
    all_wrong = [np.roll(np.eye(n), 1, axis=0) for n in (2, 3)]
    assert [
        ssl.classification_scores(list("CAB"[:n]), p, list("CAB"[:n]))["brier"]
        for n, p in zip((2, 3), all_wrong, strict=True)
    ] == [1, 1]


def test_the_same_call_gives_the_same_numbers(curve, parts, backbone):
    train, _, test = parts
    again = ssl.label_curve(
        train, test, arms={"pretext": backbone, "scratch": None}, sizes=(3,), seeds=1, arch="resnet10t"
    )
    keys = ["arm", "probe", "n_labels", "seed"]
    both = again.merge(curve, on=keys)
    assert len(both) == len(again) == 6
    np.testing.assert_array_equal(both.accuracy_x, both.accuracy_y)


def test_subsets_are_balanced_nested_and_redrawn():
    labels = np.array(["A"] * 50 + ["B"] * 30)
    subsets = [ssl.labelled_subset(labels, size, seed=0) for size in (5, 10, 30)]
    for size, rows in zip((5, 10, 30), subsets, strict=True):
        assert np.unique(labels[rows], return_counts=True)[1].tolist() == [size, size]
    assert set(subsets[0]) < set(subsets[1]) < set(subsets[2])
    assert set(subsets[0]) != set(ssl.labelled_subset(labels, 5, seed=1))
    assert ssl.labelled_subset(labels.tolist(), 5, seed=0).tolist() == subsets[0].tolist()
    with pytest.raises(ValueError, match="class 'B' has 30 training objects"):
        ssl.labelled_subset(labels, 31, seed=0)


def test_bad_requests_are_refused_before_anything_runs(parts):
    train, _, test = parts
    with pytest.raises(ValueError, match="unknown probe"):
        ssl.label_curve(train, test, arms={"scratch": None}, probes=("svm",))
    with pytest.raises(KeyError, match="no label column 'kind'"):
        ssl.label_curve(train, test, "kind", arms={"scratch": None})
    for pair in ((None, "sizes"), ("apertures", ssl.SIZES[:2])):
        with pytest.raises(ValueError, match="a pair"):
            ssl.label_curve(train, test, arms={"both": pair})
    with pytest.raises(ValueError, match="500 labels per class"):
        ssl.label_curve(train, test, arms={"scratch": None}, sizes=(5, 500))
    with pytest.raises(ValueError, match=r"probes='linear' is text: give a sequence, as \('linear',\)"):
        ssl.label_curve(train, test, arms={"scratch": None}, probes="linear")
    for arms, probes in ({"scratch": None}, ()), ({"sizes": ssl.SIZES[:2]}, ("finetune",)):
        with pytest.raises(ValueError, match="nothing to run"):
            ssl.label_curve(train, test, arms=arms, probes=probes)
    with pytest.raises(ValueError, match=r"arms=\['imagenet'\]: give a dict of name -> weights"):
        ssl.label_curve(train, test, arms=["imagenet"])
    with pytest.raises(ValueError, match="an arm is a path, 'imagenet', None, 'apertures' or a list of properties"):
        ssl.label_curve(train, test, arms={"size": ssl.SIZES[0]})
    for options in ({"sizes": 5}, {"seeds": [0, 1]}):
        with pytest.raises(ValueError, match="a sequence of sizes and a number of seeds"):
            ssl.label_curve(train, test, arms={"scratch": None}, **options)
    with pytest.raises(FileNotFoundError, match="no backbone at gone.safetensors"):
        ssl.label_curve(train, test, arms={"gone": "gone.safetensors"})
    for size in (0, -3):
        with pytest.raises(ValueError, match=f"{size} labels per class were asked for: take 1 or more"):
            ssl.label_curve(train, test, arms={"scratch": None}, sizes=(size,))
    for weights in (ssl.SIZES[:2], (None, ssl.SIZES[:2])):
        with pytest.raises(ValueError, match="no network to fine-tune"):
            ssl.few_shot_probabilities(train, test, weights=weights, probe="finetune", size=3, arch="resnet10t")
    with pytest.raises(ValueError, match=r"unknown probe \['Linear'\]"):
        ssl.few_shot_probabilities(train, test, weights=None, probe="Linear", size=3)


def test_sets_whose_scores_mean_nothing_are_refused(parts):
    train, _, test = parts
    options = {"arms": {"sizes": ssl.SIZES[:2]}, "probes": ("linear",), "sizes": (2,), "seeds": 1}
    with pytest.raises(ValueError, match="150 objects are in the training set and in the test set"):
        ssl.label_curve(train, train, **options)
    with pytest.raises(ValueError, match="nothing to learn"):
        ssl.label_curve(train[train.labels("class") == "WIDE"], test, **options)
    strange = test.with_columns(**{"class": np.where(np.arange(len(test)) == 3, "STRANGE", test.labels("class"))})
    with pytest.raises(ValueError, match=r"the classes \['STRANGE'\] are not in the training set"):
        ssl.label_curve(train, strange, **options)
    numbered = []  # rows that are only numbered are no objects that two sets share
    for part in (train, test):
        table = part.catalogue.copy()
        table.remove_column("objid")
        numbered.append(ssl.CutoutSet.from_arrays(part.images, table))
    assert len(ssl.label_curve(*numbered, **options)) == 1
    with pytest.raises(ValueError, match="150 objects are in the training set and in the test set"):
        ssl.label_curve(numbered[0], numbered[0], **options)


def test_a_run_that_is_there_twice_is_refused(curve):
    twice = pd.concat([curve, curve], ignore_index=True)
    pair = ("pretext", "linear"), ("scratch", "linear")
    for ask in (
        ssl.mean_intervals,
        ssl.label_efficiency,
        lambda both: ssl.paired_difference(both, *pair, n_labels=3),
    ):
        with pytest.raises(ValueError, match="pretext linear with 3 labels and seed 0 is there more than once"):
            ask(twice)


def test_random_features_depend_on_the_seed_and_on_nothing_else(parts):
    test = parts[2]
    once = ssl.embed(None, test, arch="resnet10t", seed=0)
    np.testing.assert_array_equal(once, ssl.embed(None, test, arch="resnet10t", seed=0))
    assert not np.allclose(once, ssl.embed(None, test, arch="resnet10t", seed=1))
    assert once.shape == (len(test), 512) and once.dtype == np.float32
