"""Networks of torchvision as backbones: features, heads, weights from a file, and what is refused."""

from __future__ import annotations

import pytest
import torch

import runs
from scenarios.errors import UserError
from strategies.networks import build, networks


def make(name, shape=(3, 32, 32), **options):
    component, _ = networks.load(name)
    return build(name, component.Config(**options), shape, [range(0, 2), range(2, 5)], 0)


@pytest.mark.parametrize("name, shape", [("torchvision:resnet18", (3, 32, 32)), ("torchvision:mobilenet_v3_small", (1, 28, 28))])
def test_a_classifier_becomes_a_backbone_with_a_head_of_ours(name, shape):
    network = make(name, shape).eval()
    x = torch.randn(2, *shape)
    assert network(x).shape == (2, 5) and network.features(x).shape == (2, network.num_features)
    again = make(name, shape)
    assert all(torch.equal(one, two) for one, two in zip(network.parameters(), again.parameters()))


def test_each_name_has_its_own_network():
    assert make("torchvision:resnet18").num_features != make("torchvision:mobilenet_v3_small").num_features
    assert networks.canonical("torchvision:resnet18") == "torchvision:resnet18"


def test_images_are_brought_to_the_size_that_is_asked_for():
    network = make("torchvision:resnet18", (3, 32, 32), size=64).eval()
    x = torch.randn(2, 3, 32, 32)
    larger = torch.nn.functional.interpolate(x, (64, 64), mode="bilinear", align_corners=False, antialias=True)
    assert torch.allclose(network.features(x), network.features(larger), atol=1e-5)


def test_weights_come_from_a_file(tmp_path):
    from torchvision import models

    torch.manual_seed(1)
    other = models.resnet18(num_classes=7)
    torch.save(other.state_dict(), tmp_path / "weights.pt")
    network = make("torchvision:resnet18", weights=str(tmp_path / "weights.pt"))
    assert torch.equal(network.backbone.model.conv1.weight, other.conv1.weight)
    assert not torch.equal(network.backbone.model.conv1.weight, make("torchvision:resnet18").backbone.model.conv1.weight)


REFUSED = [
    ("torchvision:resnet19", {}, "did you mean resnet18"),
    ("torchvision:alexnet", {}, "network.size=224"),
    ("torchvision:resnet18", {"weights": "nowhere.pt"}, "cannot be read"),
    ("timm:resnet18", {}, "pip install timm"),
]


@pytest.mark.parametrize("name, options, message", REFUSED)
def test_what_cannot_be_made_is_refused_in_one_line(name, options, message):
    if name.startswith("timm") and __import__("importlib.util").util.find_spec("timm"):
        pytest.skip("timm is installed")
    with pytest.raises(UserError, match=message):
        make(name, **options)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match="holds 0 of the network's"):
        make("torchvision:resnet18", weights=str(tmp_path / "weights.pt"))


def test_a_run_learns_its_head_alone_on_a_frozen_backbone():
    result = runs.simulate(
        scenario={"name": "split-digits", "tasks": 2, "train_examples": 40, "test_examples": 20},
        strategy="naive",
        network={"name": "torchvision:mobilenet_v3_small", "freeze": "backbone", "size": 32},
        train={"iterations": 2},
    )
    network = result.strategy.network
    assert not any(parameter.requires_grad for parameter in network.backbone.parameters())
    assert result.matrix.shape == (2, 2)
