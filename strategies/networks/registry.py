"""The networks that there are. Reading this imports no torch."""

from __future__ import annotations

from scenarios.registry import Registry, Row

networks = Registry(
    "network",
    [
        Row("mlp", "fully connected, ReLU, with or without batch norm", "strategies.networks.mlp:Mlp"),
        Row("conv", "small convolutional network; the default for colour images on a CPU", "strategies.networks.conv:Conv"),
        Row("conv4", "four blocks of convolution, batch norm, ReLU and pooling: the few-shot network", "strategies.networks.conv:Conv4"),
        Row("resnet18", "ResNet-18 in its CIFAR form (3x3 stem, no pooling)", "strategies.networks.resnet:ResNet18"),
        Row("resnet32", "ResNet-32 in its CIFAR form (3 stages of 16, 32, 64)", "strategies.networks.resnet:ResNet32"),
        Row("preact-resnet18", "ResNet-18 with pre-activation blocks", "strategies.networks.resnet:PreActResNet18"),
        Row("preact-resnet32", "ResNet-32 with pre-activation blocks", "strategies.networks.resnet:PreActResNet32"),
    ],
)
