import torch

import astro_ssl_nb as ssl


def test_unknown_values_carry_no_gradient():
    prediction = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    loss = ssl.masked_l1(prediction, torch.tensor([[0.0, torch.nan], [torch.nan, torch.nan]]))
    loss.backward()
    assert loss.item() == 1.0
    assert prediction.grad.tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert ssl.masked_l1(prediction, torch.full((2, 2), torch.nan)).item() == 0
