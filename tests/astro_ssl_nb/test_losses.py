import math

import pytest
import torch

import astro_ssl_nb as ssl


def test_unknown_values_carry_no_gradient():
    prediction = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    loss = ssl.masked_l1(prediction, torch.tensor([[0.0, torch.nan], [torch.nan, torch.nan]]))
    loss.backward()
    assert loss.item() == 1.0
    assert prediction.grad.tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert ssl.masked_l1(prediction, torch.full((2, 2), torch.nan)).item() == 0


def gradients(loss, values, log_scales, targets):
    """Gradients with respect to the values, and to the logarithms of the scale."""
    prediction = torch.cat([values, log_scales], 1).requires_grad_()
    loss(prediction, targets).backward()
    return prediction.grad.chunk(2, dim=1)


def test_what_is_unknown_teaches_neither_values_nor_scales():
    unknown = torch.full((2, 2), torch.nan)
    prediction = torch.tensor([[1.0, 2.0, 0.5, -1.0], [3.0, 4.0, -0.5, 1.0]])
    values, log_scales = prediction.chunk(2, dim=1)
    of_values, of_scales = gradients(ssl.masked_laplace, values, log_scales, torch.tensor([[0.0, torch.nan]] * 2))
    assert (of_values[:, 0] != 0).all() and (of_scales[:, 0] != 0).all()
    assert of_values[:, 1].tolist() == of_scales[:, 1].tolist() == [0, 0]
    assert ssl.masked_laplace(prediction, unknown).item() == 0


@pytest.mark.parametrize("log_scale", [-2.0, 0.0, 1.5])
def test_values_learn_as_without_a_scale_however_unsure_the_network_is(log_scale):
    values, targets = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.0, 5.0], [torch.nan, 4.5]])
    of_values, _ = gradients(ssl.masked_laplace, values, torch.full((2, 2), log_scale), targets)
    plain = values.clone().requires_grad_()
    ssl.masked_l1(plain, targets).backward()
    torch.testing.assert_close(of_values, plain.grad)


def test_a_scale_rests_where_it_is_the_error():
    errors = torch.tensor([[0.5, 2.0, 0.1]])
    for factor, sign in ((0.5, -1), (1.0, 0), (2.0, 1)):  # a step goes against the gradient
        _, of_scales = gradients(ssl.masked_laplace, 1 + errors, (factor * errors).log(), torch.ones(1, 3))
        torch.testing.assert_close(of_scales, (factor - 1) * errors / 3, rtol=1e-4, atol=1e-7)
        assert sign == 0 or (of_scales.sign() == sign).all()


@pytest.mark.parametrize("log_scale", [-200.0, 200.0])
def test_a_runaway_scale_leaves_the_loss_finite(log_scale):
    assert math.isfinite(ssl.masked_laplace(torch.tensor([[1.0, log_scale]]), torch.tensor([[3.0]])).item())


def test_each_object_has_the_mean_over_what_is_known_of_it():
    values = torch.tensor([[1.0, 5.0], [2.0, 2.0], [3.0, 3.0]])
    targets = torch.tensor([[3.0, torch.nan], [1.0, 4.0], [torch.nan, torch.nan]])
    assert ssl.masked_l1(values, targets, reduction="none").tolist() == [2, 1.5, 0]
    unsure = torch.cat([values, torch.full((3, 2), math.log(2))], 1)
    # The scale of 2, held constant, times |error| / 2 + log(2).
    expected = torch.tensor([2 + 2 * math.log(2), 1.5 + 2 * math.log(2), 0])
    torch.testing.assert_close(ssl.masked_laplace(unsure, targets, reduction="none"), expected)


def test_vicreg_is_the_sum_of_its_three_terms():
    one, other = torch.tensor([[0.0, 0.0], [2.0, 2.0]]), torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    invariance = (0 + 0 + 1 + 4) / 4
    # The first view scatters by sqrt(2) > 1 in both columns, the second by sqrt(0.5) and not at all.
    variance = ((1 - math.sqrt(0.5 + 1e-4)) + (1 - math.sqrt(1e-4))) / 2 / 2
    covariance = (2**2 + 2**2) / 2  # of the first view; the second has a column that does not vary
    expected = torch.tensor(25 * invariance + 25 * variance + covariance)
    torch.testing.assert_close(ssl.vicreg(one, other), expected)
    torch.testing.assert_close(ssl.vicreg(other, one), expected)


def test_two_copies_of_a_column_are_worse_than_columns_of_their_own():
    apart = torch.tensor([[2.0, 2.0], [2.0, -2.0], [-2.0, 2.0], [-2.0, -2.0]])
    copies = apart[:, [0, 0]]
    assert ssl.vicreg(apart, apart).item() == 0
    assert ssl.vicreg(copies, copies).item() > 1
