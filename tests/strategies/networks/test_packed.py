"""Packed networks: what rounding costs, in values and in bytes, against arithmetic by hand."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from strategies.networks.generative import critic, generator, initialised
from strategies.networks.packed import Packed

SHAPE = (1, 8, 8)


def networks(dtype=torch.float32):
    made = [initialised(partial(generator, kind, 5, 6, SHAPE), 1).to(dtype) for kind in ("mlp", "conv")]
    for network in made:
        network(torch.randn(7, 5, dtype=dtype))
    return [(network.eval(), torch.randn(3, 5, dtype=dtype)) for network in made]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kept_as_it_is_a_network_answers_with_the_same_bits(dtype):
    for network, x in networks(dtype):
        packed = Packed(network.train(), "float32")
        assert torch.equal(packed(x), network.eval()(x)) and packed(x).dtype == dtype


def test_int8_is_the_nearest_of_255_steps_of_each_rows_greatest_magnitude():
    for network, _ in networks(torch.float64):
        restored = Packed(network, "int8").restored()
        for name, value in network.state_dict().items():
            if value.ndim < 2:
                torch.testing.assert_close(restored[name], value.half().to(value), rtol=0, atol=0)
                continue
            for row, kept in zip(value, restored[name]):
                step = (row.abs().max() / 127).half().double()
                grid = step * torch.arange(-127, 128, dtype=torch.float64)
                by_hand = grid[(row.reshape(-1, 1) - grid).abs().argmin(1)].reshape(row.shape)
                torch.testing.assert_close(kept, by_hand, rtol=0, atol=1e-12)
                assert (kept - row).abs().max() <= 0.51 * step


def test_float16_is_torchs_rounding_and_answers_stay_near():
    for network, x in networks():
        half, coarse = Packed(network, "float16"), Packed(network, "int8")
        for name, value in network.state_dict().items():
            wanted = value.half().float() if value.is_floating_point() else value
            assert torch.equal(half.restored()[name], wanted)
        assert (half(x) - network(x)).abs().max() < 2e-3
        assert (coarse(x) - network(x)).abs().max() < 0.1


def test_rows_of_zeros_and_of_values_too_small_for_a_scale_come_back_finite():
    layer = nn.Linear(4, 3, bias=False)
    layer.weight.data = torch.tensor([[0.0] * 4, [1e-9] * 4, [3e-4, -1e-4, 0.0, 2e-4]])
    restored = Packed(layer, "int8").restored()["weight"]
    assert restored[:2].eq(0).all() and (restored - layer.weight).abs().max() < 2e-6


def test_a_kept_network_moves_by_keep_alone_and_is_saved_as_it_is_kept():
    network = initialised(lambda: critic("mlp", 6, SHAPE, 1), 0)
    packed, other = Packed(network, "int8"), Packed(initialised(lambda: critic("mlp", 6, SHAPE, 1), 1), "int8")
    before = {name: value.clone() for name, value in packed.state_dict().items()}
    network[1].weight.data.mul_(2)
    assert all(torch.equal(packed.state_dict()[name], value) for name, value in before.items())
    packed.keep(network)
    torch.testing.assert_close(packed.restored()["1.weight"], network[1].weight.data, rtol=0, atol=0.01)
    other.load_state_dict(packed.state_dict())
    x = torch.randn(4, *SHAPE)
    assert torch.equal(other(x), packed(x)) and not list(packed.parameters())
    assert sum(value.nbytes for value in packed.state_dict().values()) == 6 * (64 + 2) + 6 * (6 + 2) + (6 + 2) + 2 * 13
