"""A network that was kept says the same as the learner that it came from."""

import numpy as np
import pytest
from astropy.table import Table

import astro_ssl_nb as ssl
from astro_ssl_nb.learners import predict_properties


def kept(learn, path):
    return ssl.Predictor.open(ssl.Predictor.of(learn).save(path))


@pytest.fixture(scope="module")
def classifier(parts, backbone):
    """Fine-tuned on twelve labels; who trains it further makes another."""
    return ssl.few_shot_learner(parts[0][:12], weights=backbone)


def test_a_few_shot_classifier_is_kept_with_its_classes(parts, classifier, tmp_path):
    learn = classifier
    with learn.no_bar():
        wanted = learn.get_preds(dl=learn.dls.test_dl(parts[2]))[0].numpy()
    bare = ssl.CutoutSet.from_arrays(parts[2].images, Table({"objid": parts[2].catalogue["objid"]}))  # without labels
    predictor = kept(learn, tmp_path / "classifier.safetensors")
    answers = predictor.predict(bare)
    assert answers.columns.tolist() == ["NARROW", "WIDE"] and answers.index.tolist() == list(bare.catalogue["objid"])
    np.testing.assert_allclose(answers, wanted, atol=1e-5)
    assert (answers.idxmax(axis=1).to_numpy() == parts[2].labels("class")).mean() > 0.8
    assert "trained on 12 cutouts, says NARROW, WIDE" in repr(predictor)


def test_properties_are_kept_with_their_units_and_scales(parts, learn, tmp_path):
    uncertain = ssl.property_learner(learn.dls, "resnet10t", uncertainty=True)
    with learn.no_bar(), uncertain.no_bar():
        values = predict_properties(learn, parts[2])
        both = predict_properties(uncertain, parts[2], uncertainty=True)
    plain = kept(learn, tmp_path / "plain.safetensors").predict(parts[2])
    assert plain.columns.tolist() == [one.name for one in ssl.MAGNITUDES]
    np.testing.assert_allclose(plain, values, atol=1e-4)
    answers = kept(uncertain, tmp_path / "uncertain.safetensors").predict(parts[2])
    assert answers.columns[5] == "modelMag_u scale"
    np.testing.assert_allclose(answers, np.hstack(both), atol=1e-4)


def test_two_cutouts_of_one_object_get_a_row_each(parts, learn):
    uncertain = ssl.Predictor.of(ssl.property_learner(learn.dls, "resnet10t", uncertainty=True))
    twice = parts[2][np.repeat(np.arange(5), 2)]
    answers = uncertain.predict(twice)
    assert answers.index.tolist() == list(twice.catalogue["objid"])
    np.testing.assert_allclose(answers.to_numpy(), np.repeat(uncertain.predict(parts[2][:5]).to_numpy(), 2, 0), 1e-4)


def test_cutouts_of_another_size_are_refused_where_nobody_knows_how_large_a_pixel_is(parts, classifier):
    predictor = ssl.Predictor.of(classifier)
    wide = np.pad(parts[2].images, ((0, 0), (0, 0), (4, 4), (4, 4)))
    assert len(predictor.predict(ssl.CutoutSet.from_arrays(wide, parts[2].catalogue, pixel_scale=0.396))) == 90
    with pytest.raises(ValueError, match="on cutouts of 16 pixels a side, these have 24, .* make them with size=16"):
        predictor.predict(ssl.CutoutSet.from_arrays(wide, parts[2].catalogue, pixel_scale=None))


def test_it_stays_as_it_was_when_the_learner_goes_on(parts, backbone, monkeypatch):
    monkeypatch.setattr("astro_ssl_nb.finetuning.STEPS", 2)
    learn = ssl.few_shot_learner(parts[0][:12], weights=backbone)
    predictor = ssl.Predictor.of(learn)
    before = predictor.predict(parts[2])
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-2)
    np.testing.assert_array_equal(predictor.predict(parts[2]), before)


def test_its_card_names_the_labelled_cutouts_that_it_learned_from(parts, classifier):
    card = ssl.Predictor.of(classifier).card
    assert card["n_train"] == 12 and card["data_sha256"] == parts[0][:12].checksum()


def test_a_network_with_imagenet_weights_sees_as_it_did(parts, tmp_path, monkeypatch):
    monkeypatch.setattr("astro_ssl_nb.finetuning.STEPS", 2)
    learn = ssl.few_shot_learner(parts[0][:4], weights="imagenet")
    with learn.no_bar():
        wanted = learn.get_preds(dl=learn.dls.test_dl(parts[2][:5]))[0].numpy()
    np.testing.assert_allclose(kept(learn, tmp_path / "a.safetensors").predict(parts[2][:5]), wanted, atol=1e-5)


def test_what_it_was_not_trained_on_is_refused(parts, backbone, learn, tmp_path):
    predictor = kept(learn, tmp_path / "a.safetensors")
    images, catalogue = parts[2].images, parts[2].catalogue
    refused = {
        "these cutouts have 0.8": ssl.CutoutSet.from_arrays(images, catalogue, pixel_scale=0.8),
        "these cutouts have u g": ssl.CutoutSet.from_arrays(images[:, :2], catalogue, bands="ug"),
        "these cutouts are uint8 pictures": ssl.CutoutSet.from_arrays(
            images[:, :3].astype(np.uint8), catalogue, bands="RGB"
        ),
    }
    for match, cutouts in refused.items():
        with pytest.raises(ValueError, match=match):
            predictor.predict(cutouts)
    with pytest.raises(ValueError, match="holds a backbone and no answers"):
        ssl.Predictor.open(backbone)
    with pytest.raises(ValueError, match="a.safetensors holds a whole predictor: ask it with Predictor.open"):
        ssl.load_backbone(tmp_path / "a.safetensors")
    with pytest.raises(FileNotFoundError):
        ssl.Predictor.open(tmp_path / "gone.safetensors")
