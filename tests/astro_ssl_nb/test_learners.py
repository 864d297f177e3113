from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from fastai.callback.core import Callback
from fastai.interpret import ClassificationInterpretation, Interpretation
from fastai.learner import Learner
from fastai.optimizer import OptimWrapper

import astro_ssl_nb as ssl
from astro_ssl_nb.learners import predict_properties
from astro_ssl_nb.optimiser import adamw


def test_a_property_learner_learns_to_measure(learn, parts):
    test = parts[2]
    truth = ssl.property_values(test.catalogue, ssl.MAGNITUDES)
    error = np.nanmean(np.abs(predict_properties(learn, test) - truth), axis=0)
    of_the_mean = np.nanmean(np.abs(truth - np.nanmean(truth, axis=0)), axis=0)
    assert (error < 0.4 * of_the_mean).all()


def test_metrics_are_in_magnitudes(learn):
    prediction, target = learn.get_preds()
    error = (prediction - target).abs().numpy() * learn.dls.target_std
    names = learn.recorder.metric_names
    assert names[3] == "modelMag_u MAE [mag]"
    np.testing.assert_allclose(learn.validate()[1:], np.nanmean(error, axis=0), rtol=1e-3)


def test_it_is_a_fastai_learner(learn, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # the search for a learning rate keeps its files here
    assert isinstance(learn, Learner)
    found = learn.lr_find(num_it=8, show_plot=False)
    assert 0 < found.valley < 10
    learn.show_results(max_n=4)
    learn.dls.show_batch(max_n=4)
    x, y = learn.dls.one_batch()
    assert x.shape == (25, 3, 16, 16) and y.shape == (25, 5)


def test_callbacks_made_of_functions_are_called_and_one_that_switched_itself_off_is_on_again(parts):
    called = []

    class OnceInAFit(Callback):
        def before_epoch(self):
            called.append("once")
            self.run = False

    each = Callback(after_batch=lambda self: called.append("batch"))
    dls = ssl.CutoutDataLoaders.for_properties(*parts[:2], ssl.MAGNITUDES, bs=50)
    learn = ssl.property_learner(dls, "resnet10t", cbs=[OnceInAFit(), each])
    with learn.no_bar(), learn.no_logging():
        learn.fit(2)
        learn.fit(1)
    batches = ["batch"] * 4  # three of training, and the one of validation
    assert called == ["once", *batches, *batches, "once", *batches]


def test_what_fastai_users_know_works_on_classes(parts):
    learn = ssl.class_learner(ssl.CutoutDataLoaders.for_classes(*parts[:2], bs=25), "resnet10t")
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-3)
        name, number, probabilities = learn.predict(parts[2][3])
        assert name == learn.dls.vocab[number] and probabilities.sum() == pytest.approx(1)
        labelled = learn.dls.test_dl(parts[1], with_labels=True)
        np.testing.assert_allclose(learn.validate(dl=labelled), learn.validate(), rtol=1e-5)
        matrix = ClassificationInterpretation.from_learner(learn).confusion_matrix()
        assert matrix.sum() == len(parts[1]) and matrix.shape == (2, 2)
        learn.show_results(dl=learn.dls.test_dl(parts[2]))
    shown = {ax.get_title() for ax in plt.gcf().axes if ax.get_title()}
    assert shown <= {"NARROW", "WIDE"} and shown


def test_an_interpretation_knows_how_far_each_object_is_off(learn):
    prediction, target = learn.get_preds()
    with learn.no_bar():
        found = Interpretation.from_learner(learn)
    off = (prediction - target).abs().nanmean(1)
    torch.testing.assert_close(found.losses, off)
    losses, rows = found.top_losses(3)
    assert rows.tolist() == off.argsort(descending=True)[:3].tolist() and (losses == off[rows]).all()


def test_a_network_with_uncertainties_shows_and_tells_its_properties(parts):
    learn = ssl.property_learner(
        ssl.CutoutDataLoaders.for_properties(*parts[:2], ssl.MAGNITUDES[1:3]), "resnet10t", uncertainty=True
    )
    with learn.no_bar():
        learn.show_results(max_n=1)
        said, *_ = learn.predict(parts[2][0])
    assert [line.split()[0] for line in said.split("\n")] == ["modelMag_g", "modelMag_r"]
    plain = ssl.property_learner(learn.dls, "resnet10t")
    with pytest.raises(ValueError, match="gives no uncertainties"):
        predict_properties(plain, parts[2], uncertainty=True)


def test_export_says_what_to_call_instead_of_a_pickle(learn, tmp_path):
    dls = learn.dls
    with pytest.raises(RuntimeError, match="save_backbone"):
        learn.export(tmp_path / "learner.pkl")
    assert learn.dls is dls and not (tmp_path / "learner.pkl").exists()


def test_same_seed_same_weights_other_seed_other_weights(parts, tmp_path):
    def trained(seed, searched=False):
        torch.manual_seed(np.random.randint(1 << 30))  # whatever went on before must not matter
        dls = ssl.CutoutDataLoaders.for_properties(*parts[:2], ssl.MAGNITUDES, bs=25, seed=seed)
        learn = ssl.property_learner(dls, "resnet10t", path=tmp_path)
        with learn.no_bar(), learn.no_logging():
            if searched:
                learn.lr_find(num_it=4, show_plot=False)
            learn.fit(1)
        return learn.model[1][-1].weight.detach().clone()

    once = trained(0)
    assert torch.equal(once, trained(0))
    assert torch.equal(once, trained(0, searched=True)), "a search for a learning rate leaves no trace"
    assert not torch.equal(once, trained(1))


def test_the_next_fit_takes_the_batches_in_another_order(parts):
    orders = []

    def keep(self):
        if self.training:
            orders[-1] += self.y.flatten().tolist()

    dls = ssl.CutoutDataLoaders.for_properties(parts[0][:32], parts[1][:8], ssl.MAGNITUDES[1:2], bs=16)
    watch = Callback(before_fit=lambda self: orders.append([]), before_batch=keep)
    learn = ssl.property_learner(dls, "resnet10t", metrics=[], cbs=watch)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
        learn.fit(1)
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1])


def test_dropout_is_the_same_for_the_same_seed_and_leaves_the_generator_as_it_was(parts):
    def trained():
        learn = ssl.class_learner(ssl.CutoutDataLoaders.for_classes(parts[0][:32], parts[1][:8], bs=16), "resnet10t")
        before = torch.get_rng_state()
        with learn.no_bar(), learn.no_logging():
            learn.fit(1)
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(1)
        return learn.model[1][-1].weight.detach()

    assert torch.equal(trained(), trained())


def test_the_architecture_is_that_of_the_weights(learn, backbone):
    again = ssl.property_learner(learn.dls, weights=backbone)
    assert again.arch == "resnet10t" and not next(again.model[0].parameters()).requires_grad


def test_error_bars_are_learned_and_honest(parts):
    train, valid, test = parts
    dls = ssl.CutoutDataLoaders.for_properties(train, valid, ssl.MAGNITUDES, bs=25)
    learn = ssl.property_learner(dls, "resnet10t", uncertainty=True)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(20, 5e-3)
    values, scale = predict_properties(learn, test, uncertainty=True)
    error = np.abs(values - ssl.property_values(test.catalogue, ssl.MAGNITUDES))
    assert values.shape == scale.shape == (len(test), 5) and (scale > 0).all()
    assert np.nanmean(error) < 0.5
    assert 0.3 < np.nanmean(error) / scale.mean() < 3
    np.testing.assert_array_equal(values, predict_properties(learn, test))


def test_a_network_without_error_bars_says_so(learn, parts):
    with pytest.raises(ValueError, match="uncertainty=True"):
        predict_properties(learn, parts[2], uncertainty=True)


@pytest.mark.parametrize(
    ("options", "decay"), [({}, 0.01), ({"wd": 0.3}, 0.3), ({"opt_func": partial(adamw, weight_decay=0.2)}, 0.2)]
)
def test_all_weights_decay_as_the_learner_is_told(parts, options, decay):
    def indifferent(prediction, target):
        return 0 * prediction.sum()

    dls = ssl.CutoutDataLoaders.for_classes(parts[0][:32], parts[1][:8], bs=16)
    learn = ssl.class_learner(dls, "resnet10t", loss_func=indifferent, metrics=[], **options)
    before = [weight.detach().cpu().clone() for weight in learn.model.parameters()]
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 0.1)  # two steps
    for weight, old in zip(learn.model.parameters(), before, strict=True):
        torch.testing.assert_close(weight.detach().cpu(), old * (1 - 0.1 * decay) ** 2)


@pytest.mark.parametrize("rates", [(0.1, 0.1), (0.01, 0.1)], ids=["alike", "apart"])
def test_groups_step_as_they_do_in_torch_one_by_one(rates):
    start = [torch.linspace(-1, 1, 6), torch.linspace(0, 1, 4)]
    ours, theirs = ([weight.clone().requires_grad_() for weight in start] for _ in range(2))
    opt = adamw([[weight] for weight in ours], lr=0.1)
    opt.set_hyper("lr", rates)
    reference = torch.optim.AdamW(
        [{"params": [weight], "lr": rate} for weight, rate in zip(theirs, rates, strict=True)],
        **{"betas": (0.9, 0.99), "eps": 1e-5, "weight_decay": 0.01},
    )
    for _ in range(3):
        for weights, optimiser in ((ours, opt), (theirs, reference)):
            sum((weight**2).sum() for weight in weights).backward()
            optimiser.step()
            optimiser.zero_grad()
    for mine, other, before in zip(ours, theirs, start, strict=True):
        torch.testing.assert_close(mine, other)
        assert not torch.equal(mine.detach(), before)
    assert [len(group["params"]) for group in opt.opt.param_groups] == [1, 1]


def test_an_optimiser_says_its_hyper_parameters_as_that_of_fastai_does():
    def groups():
        return [[torch.zeros(2, requires_grad=True)], [torch.zeros(3, requires_grad=True)]]

    constants = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-5, "weight_decay": 0.01, "fused": True}
    ours, theirs = adamw(groups(), lr=0.1), OptimWrapper(groups(), torch.optim.AdamW, **constants)
    for opt in (ours, theirs):
        opt.set_hypers(lr=[0.01, 0.02], mom=0.8)
    assert ours.hypers == theirs.hypers and [one["mom"] for one in ours.hypers] == [0.8, 0.8]


def test_stages_go_from_the_stem_to_the_head(learn):
    groups = learn.splitter(learn.model)
    assert sum(len(group) for group in groups) == len(list(learn.model.parameters())) and len(groups) > 3
    assert groups[0][0] is next(learn.model[0].parameters()) and groups[-1][-1] is learn.model[1][-1].bias


def test_class_learner_beats_chance_and_predicts_names(parts, backbone):
    train, valid, test = parts
    dls = ssl.CutoutDataLoaders.for_classes(train, valid, bs=25)
    learn = ssl.class_learner(dls, weights=backbone)
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(3)
    scores, _ = learn.get_preds(dl=dls.test_dl(test))
    torch.testing.assert_close(scores.sum(1), torch.ones(len(test)))
    assert np.mean(np.array(dls.vocab)[scores.argmax(1)] == test.labels("class")) > 0.85
    learn.show_results(max_n=4)
