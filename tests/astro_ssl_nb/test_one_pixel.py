"""Convolutions as matrix products give what torch's own give, and their gradients."""

import pytest
import torch
from torch import nn

import astro_ssl_nb as ssl
from astro_ssl_nb.one_pixel import with_one_pixel_products

CASES = {
    "a filter of 3 on one pixel": ({"kernel_size": 3, "padding": 1}, (1, 1)),
    "in steps, on two pixels": ({"kernel_size": 3, "padding": 1, "stride": 2}, (2, 2)),
    "on a map that is no square": ({"kernel_size": 3, "padding": 1, "stride": 2}, (2, 1)),
    "a filter as large as the map": ({"kernel_size": 4}, (4, 4)),
    "without a bias": ({"kernel_size": 3, "padding": 1, "bias": False}, (1, 1)),
    "in steps beyond the map": ({"kernel_size": 1, "stride": 2}, (2, 2)),
    "padding wider than the map": ({"kernel_size": 5, "padding": 2, "stride": 3}, (2, 2)),
    "an output of two pixels": ({"kernel_size": 3, "padding": 1}, (2, 1)),
    "a window that starts beside the map": ({"kernel_size": 3, "padding": 2, "stride": 3}, (1, 1)),
    "groups": ({"kernel_size": 3, "padding": 1, "groups": 2}, (1, 1)),
    "holes": ({"kernel_size": 3, "padding": 2, "dilation": 2}, (1, 1)),
    "padding by name": ({"kernel_size": 3, "padding": "same"}, (1, 1)),
    "padding that mirrors": ({"kernel_size": 3, "padding": 1, "padding_mode": "circular"}, (1, 1)),
}


@pytest.mark.parametrize(("options", "shape"), CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_outputs_and_gradients_are_those_of_torch(options, shape, layout):
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 4, **options).to(memory_format=layout)
    ours = nn.Conv2d(6, 4, **options).to(memory_format=layout)
    ours.load_state_dict(plain.state_dict())
    ours = with_one_pixel_products(ours)
    image, found = torch.rand(3, 6, *shape), []
    for conv in (plain, ours):
        x = image.clone(memory_format=layout).requires_grad_()
        y = conv(x)
        (y**2).sum().backward()
        found.append([y, x.grad, *(weight.grad for weight in conv.parameters())])
    assert len(found[0]) == len(found[1])
    for theirs, mine in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_small_cutout_takes_no_convolution_over_padding_alone():
    backbone = ssl.create_backbone("resnet10t")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as seen:
        backbone(torch.rand(2, 3, 32, 32))
    calls = [event.input_shapes[0] for event in seen.events() if event.name == "aten::conv2d"]
    assert calls and all(shape[-2:] != [1, 1] for shape in calls)
