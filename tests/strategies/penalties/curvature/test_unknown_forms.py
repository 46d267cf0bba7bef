"""Forms of layers for which per-example gradients or Kronecker factors are not known are told in one line, before anything is trained."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scenarios.errors import UserError
from strategies.networks.network import Network
from strategies.networks.norms import norms
from strategies.networks.unit import Unit, require_units
from strategies.penalties.curvature.kronecker import Kronecker, truncated
from strategies.penalties.curvature.merge import merged_layers
from strategies.penalties.curvature.per_example import check_known

BLOCKS = [range(0, 2)]


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, x):
        return self.layer(self.layer(x.flatten(1)).relu())


@pytest.mark.parametrize(
    ("backbone", "features", "message"),
    [
        (Twice(), 16, "a layer that is used twice"),
        (nn.Sequential(nn.Flatten(2), nn.Linear(16, 3), nn.Flatten()), 3, "known for inputs .B, F., not .1, 1, 16."),
        (nn.Sequential(nn.Conv2d(1, 2, 3, padding="same"), nn.Flatten()), 32, "with zeros as padding, given as numbers"),
        (nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), nn.Flatten()), 32, "with zeros as padding"),
        (nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False), nn.Flatten()), 16, "with running statistics"),
        (nn.Sequential(nn.GroupNorm(1, 1), nn.Flatten()), 16, "not GroupNorm"),
    ],
)
def test_per_example_gradients_of_other_forms_are_refused(backbone, features, message):
    with pytest.raises(UserError, match=message):
        check_known(Network(backbone, features, BLOCKS), (1, 4, 4))


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        (Unit(nn.Conv2d(1, 2, 3, padding="same")), "given as numbers; '0' has"),
        (Unit(nn.ConvTranspose2d(1, 2, 3)), "knows units of nn.Linear or nn.Conv2d"),  # type: ignore[arg-type]
        (Unit(nn.Conv2d(1, 2, 3), nn.GroupNorm(1, 2)), "end with an affine batch norm"),  # type: ignore[arg-type]
        (Unit(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, affine=False)), "end with an affine batch norm"),
        (nn.BatchNorm2d(1, affine=False), "'0' .BatchNorm2d. lies in none"),
    ],
)
def test_units_of_other_parts_are_refused(unit, message):
    with pytest.raises(UserError, match=message) as refused:
        require_units(nn.Sequential(unit, nn.Flatten()), "rescl")
    assert "\n" not in str(refused.value)


def test_frozen_layers_are_left_out_of_the_merge_and_halves_of_one_are_refused():
    units = [Unit(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)), Unit(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))]
    network = Network(nn.Sequential(*units, nn.Flatten()), 3, BLOCKS)
    units[0].requires_grad_(False)
    assert [layer.name for layer in merged_layers(network)] == ["backbone.1", "head.blocks.0"]
    assert list(norms(network)) == ["backbone.1.norm"]
    units[1].norm.requires_grad_(False)
    with pytest.raises(UserError, match="freeze all of 'backbone.1' or nothing of it"):
        merged_layers(network)


def test_factors_that_single_precision_cannot_decompose_are_decomposed_in_double(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(40, 2, generator=generator)
    curvature = Kronecker(torch.eye(3).expand(1, 1, 3, 3), (root @ root.T)[None, None])
    expected = truncated(curvature, 0.05)
    decompose = torch.linalg.eigh

    def single(matrices):
        if matrices.dtype == torch.float32:
            raise torch.linalg.LinAlgError("failed to converge")
        return decompose(matrices)

    monkeypatch.setattr(torch.linalg, "eigh", single)
    change = torch.randn(1, 3, 40, generator=generator)
    assert torch.allclose(truncated(curvature, 0.05).product(change), expected.product(change), rtol=1e-4, atol=1e-4)
    with pytest.raises(torch.linalg.LinAlgError):
        truncated(Kronecker(curvature.left, curvature.right * 1e12), 0.05)
