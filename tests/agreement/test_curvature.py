"""K-FAC, XK-FAC and the exact blocks against stored numbers of sums over pairs and Kronecker products written out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from strategies.networks.network import Network
from strategies.penalties.curvature.exact import block, directions, send_back
from strategies.penalties.curvature.factor_pass import FactorConfig, FactorPass
from strategies.penalties.curvature.merge import batch_statistics, merged_layers
from strategies.penalties.curvature.taps import Taps
from tests.agreement import curvature
from tests.agreement.written import flattened
from tests.strategies.penalties.curvature.curvature_cases import mlp

STORED = json.loads((Path(__file__).parent / "curvature.json").read_text(encoding="utf-8"))["outputs"]
LABELS = torch.from_numpy(curvature.LABELS)


def network() -> Network:
    made = mlp(widths=curvature.WIDTHS, classes=curvature.CLASSES)
    assert {key: tuple(value.shape) for key, value in made.named_parameters()} == curvature.SHAPES
    made.load_state_dict({key: torch.from_numpy(value) for key, value in curvature.NETWORK.items()}, strict=False)
    return made


def images() -> Tensor:
    return torch.from_numpy(curvature.IMAGES).view(-1, 1, 2, 2)


class GivenLabels(FactorPass):
    """The pass that measures, with labels that are given where it would draw them."""

    def _draw(self, log_p: Tensor, generator: torch.Generator) -> list[Tensor]:
        return [LABELS[:, None]]


def measured(config: FactorConfig) -> dict[str, Tensor]:
    made = network()
    found = GivenLabels(made, merged_layers(made), config)
    found.observe(images(), LABELS, range(curvature.CLASSES), torch.Generator(), coupled=True)
    return {name: each.dense()[0] for name, each in found.curvature().items()}


@pytest.mark.parametrize("name", curvature.LAYERS)
@pytest.mark.parametrize(("method", "config"), [("kfac", FactorConfig()), ("xkfac", FactorConfig(linear="virtual"))])
def test_the_block_of_a_layer_is_the_stored_one(name: str, method: str, config: FactorConfig) -> None:
    stored = torch.tensor(STORED[name].get(method, STORED[name]["kfac"]), dtype=torch.float64)  # without pairs both are K-FAC's
    assert torch.allclose(measured(config)[name], stored, rtol=1e-10, atol=1e-12)


def test_the_exact_block_of_a_layer_is_the_stored_one() -> None:
    made = network()
    layers = merged_layers(made)
    with batch_statistics(made), Taps(layers, "post_bn") as taps:
        logits = made(images())
    for name, rows in send_back(taps, logits, directions(logits)).items():
        stored = torch.tensor(STORED[name]["exact"], dtype=torch.float64)
        assert torch.allclose(block(rows.root())[0], stored, rtol=1e-10, atol=1e-12), name


@pytest.mark.parametrize("name", curvature.LAYERS)
def test_the_reference_still_yields_the_stored_numbers(name: str) -> None:
    found: dict[str, Any] = {"kfac": curvature.blocks(name)[0].tolist(), "exact": curvature.exact(name).tolist()}
    if name in curvature.COUPLED:
        found["xkfac"] = curvature.blocks(name)[1].tolist()
    assert flattened(found) == pytest.approx(flattened(STORED[name]), rel=1e-11, abs=1e-13)


def test_the_stored_inputs_are_those_of_the_reference() -> None:
    whole = json.loads((Path(__file__).parent / "curvature.json").read_text(encoding="utf-8"))
    assert json.loads(json.dumps(curvature.inputs())) == whole["inputs"]


def test_pairs_weigh_where_a_norm_lies_behind_the_layer() -> None:
    first = STORED["backbone.1"]
    plain, extended = (torch.tensor(first[name], dtype=torch.float64) for name in ("kfac", "xkfac"))
    assert float((extended - plain).norm() / plain.norm()) > 0.1
