"""The flat layout: views of one memory, shaped and strided like the parameters."""

from __future__ import annotations

import torch

from strategies.penalties.flat import Flat


def channels_last_network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten()).to(memory_format=torch.channels_last)


def test_views_share_the_vector_and_are_laid_out_like_the_parameters():
    flat = Flat(channels_last_network().parameters())
    vector = flat.zeros()
    for number, (view, parameter) in enumerate(zip(vector.views, flat.parameters)):
        assert view.shape == parameter.shape and view.stride() == parameter.stride()
        view.fill_(number + 1)
    sizes = [parameter.numel() for parameter in flat.parameters]
    expected = torch.repeat_interleave(torch.arange(1.0, len(sizes) + 1), torch.tensor(sizes))
    assert torch.equal(vector.flat, expected) and len(flat) == sum(sizes)


def test_a_vector_read_from_the_network_has_views_equal_to_the_parameters():
    flat = Flat(channels_last_network().parameters())
    vector = flat.zeros()
    vector.flat.copy_(flat.read())
    assert all(map(torch.equal, vector.views, flat.parameters))


def test_reading_gives_a_copy():
    layer = torch.nn.Linear(2, 2)
    flat = Flat(layer.parameters())
    flat.read().zero_()
    assert layer.weight.abs().sum() > 0


def test_frozen_parameters_are_left_out():
    layer = torch.nn.Linear(2, 3)
    layer.bias.requires_grad_(False)
    assert len(Flat(layer.parameters())) == 6


def test_in_play_is_what_the_backward_pass_reached():
    first, second = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    flat = Flat([*first.parameters(), *second.parameters()])
    second(torch.ones(1, 2)).sum().backward()
    assert flat.in_play() == [2, 3]
    assert flat.gradients([2])[0] is second.weight.grad
