"""The networks that there are. Reading this imports no torch.

A user's own network is a class or a function that makes a backbone from the shape of an image; see `own`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from scenarios.registry import Registry, Row

T = TypeVar("T", bound=Callable[..., Any])


class NetworkRegistry(Registry):
    """The registry of networks: what a user registers becomes the backbone of a network."""

    def load(self, name: str) -> tuple[Any, dict[str, Any]]:
        """Import a component.

        Args:
            name: a name as the user types it; one that stands for a network of another library has a component of its own.

        Returns:
            The component's class, and the options that the name stands for.
        """
        component, parts = super().load(name)
        if "name" not in parts:
            return component, parts
        if name not in self._loaded:
            self._loaded[name] = component.of(parts["name"])
        return self._loaded[name], {}

    def register(self, name: str, line: str, label: str = "") -> Callable[[T], T]:
        """Decorate a class or a function of the user's own that makes a backbone; see `strategies.networks.own`.

        Args:
            name: what the user will type.
            line: what it is, in one line.
            label: what must stand beside the name wherever it is shown.

        Returns:
            The decorator.
        """
        add = super().register(name, line, label)

        def wrap(backbone: T) -> T:
            from strategies.networks.own import component

            add(backbone)
            self._loaded[name] = component(name, backbone)
            return backbone

        return wrap


networks = NetworkRegistry(
    "network",
    [
        Row("mlp", "fully connected, ReLU, with or without batch norm", "strategies.networks.mlp:Mlp"),
        Row("conv", "small convolutional network; the default for colour images on a CPU", "strategies.networks.conv:Conv"),
        Row("conv4", "four blocks of convolution, batch norm, ReLU and pooling: the few-shot network", "strategies.networks.conv:Conv4"),
        Row("resnet18", "ResNet-18 in its CIFAR form (3x3 stem, no pooling)", "strategies.networks.resnet:ResNet18"),
        Row("resnet32", "ResNet-32 in its CIFAR form (3 stages of 16, 32, 64)", "strategies.networks.resnet:ResNet32"),
        Row("preact-resnet18", "ResNet-18 with pre-activation blocks", "strategies.networks.resnet:PreActResNet18"),
        Row("preact-resnet32", "ResNet-32 with pre-activation blocks", "strategies.networks.resnet:PreActResNet32"),
        Row("torchvision:NAME", "a classifier of torchvision (torchvision:resnet50)", "strategies.networks.zoo:TorchvisionNetwork"),
        Row("timm:NAME", "a network of timm, where that is installed (timm:convnext_tiny)", "strategies.networks.zoo:TimmNetwork"),
    ],
)
