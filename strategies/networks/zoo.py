"""Networks of torchvision and timm as backbones: `torchvision:resnet50`, `timm:convnext_tiny`, with pretrained weights or without.

The last linear layer gives way to the project's own head; grey images are shown in three channels alike. Images reach the network as the
scenario normalises them, not by ImageNet's means: with pretrained weights the first layers see slightly other inputs than they were trained
on.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from scenarios.errors import UserError, nearest
from scenarios.options import option
from strategies.networks.network import Network, NetworkConfig


@dataclass(frozen=True, kw_only=True)
class ZooConfig(NetworkConfig):
    """Options of networks of torchvision and timm.

    Attributes:
        weights: none for a new initialisation; default for the library's own pretrained weights (from its cache, or a download); else a
            file that torch.load reads (a state dict; entries of another shape than the network's are left out).
        size: images are brought to so many pixels a side before the network sees them; none for the size that pretrained weights ask for,
            and for the images' own without.
    """

    weights: str = "none"
    size: int | None = option(None, low=8, high=1024)


class Zoo(nn.Module):
    """A network of another library without its last linear layer.

    Args:
        model: the network.
        size: side to which images are brought; None to leave them as they are.
    """

    def __init__(self, model: nn.Module, size: int | None) -> None:
        super().__init__()
        self.model = model
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Compute the features.

        Args:
            x: [B, C, H, W], C 1 or 3.

        Returns:
            [B, F].
        """
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        if self.size and x.shape[2:] != (self.size, self.size):
            x = nn.functional.interpolate(x, (self.size, self.size), mode="bilinear", align_corners=False, antialias=True)
        found = self.model(x)
        return found.flatten(1) if isinstance(found, Tensor) else found[0].flatten(1)


class ZooNetwork(Network):
    """A backbone of another library and a head of the project's."""

    Config: ClassVar[type] = ZooConfig
    channels_last = True
    needs_images = True
    name: ClassVar[str]

    @staticmethod
    def make(name: str, weights: str) -> tuple[nn.Module, int | None]:
        """Make the library's model.

        Args:
            name: what the library calls it.
            weights: none, default, or a file (which is read by the caller).

        Raises:
            NotImplementedError: in this class, which stands for no library.
        """
        raise NotImplementedError

    @classmethod
    def of(cls, name: str) -> type[ZooNetwork]:
        """The component of one network.

        Args:
            name: what the library calls it.

        Returns:
            A class of its own.
        """
        return type(f"{cls.__name__}_{name}", (cls,), {"name": name, "__module__": cls.__module__, "__doc__": cls.__doc__})

    @classmethod
    def build(cls, config: ZooConfig, input_shape: tuple[int, int, int], blocks: Sequence[range]) -> ZooNetwork:
        """Make the network.

        Args:
            config: its options.
            input_shape: shape of one image, (C, H, W).
            blocks: the head's blocks of outputs.

        Returns:
            The network, initialised from the global generator or with pretrained weights.

        Raises:
            UserError: there is no such network or weights, or images of this shape do not fit.
        """
        model, asked = cls.make(cls.name, config.weights)
        if config.weights not in ("none", "default"):
            _load(model, Path(config.weights))
        backbone = Zoo(_without_head(model, cls.name), config.size or asked)
        try:
            with torch.no_grad():
                features = backbone.eval()(torch.zeros(2, *input_shape))
        except (RuntimeError, ValueError, AssertionError) as error:
            line = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"network '{cls.name}' fails on images of {input_shape} ({line}); give it network.size=224") from error
        return cls(backbone.train(), features.shape[1], blocks)


class TorchvisionNetwork(ZooNetwork):
    """A classifier of torchvision as a backbone."""

    @staticmethod
    def make(name: str, weights: str) -> tuple[nn.Module, int | None]:
        """Make the model.

        Args:
            name: what torchvision calls it.
            weights: none, default, or a file (which is read by the caller).

        Returns:
            The model, and the side of the images that its pretrained weights were trained on, where these are asked for.

        Raises:
            UserError: there is no such classifier, or its weights are not to be had.
        """
        from torchvision import models

        known = models.list_models(module=models)
        if name not in known:
            raise UserError(f"torchvision has no classifier '{name}'{nearest(name, known)}")
        if weights != "default":
            return models.get_model(name, weights=None, **_quiet(models.get_model_builder(name))), None
        chosen = models.get_model_weights(name).DEFAULT
        try:
            return models.get_model(name, weights=chosen), chosen.transforms().crop_size[0]
        except OSError as error:
            raise UserError(f"the weights of '{name}' are not to be had; set network.weights=FILE") from error


class TimmNetwork(ZooNetwork):
    """A network of timm as a backbone."""

    @staticmethod
    def make(name: str, weights: str) -> tuple[nn.Module, int | None]:
        """Make the model.

        Args:
            name: what timm calls it.
            weights: none, default, or a file (which is read by the caller).

        Returns:
            The model, and the side of the images that its pretrained weights were trained on, where these are asked for.

        Raises:
            UserError: timm is not installed, has no such network, or its weights are not to be had.
        """
        try:
            import timm
        except ImportError as error:
            raise UserError("networks of timm need the package: pip install timm") from error
        if name not in timm.list_models():
            raise UserError(f"timm has no network '{name}'{nearest(name, timm.list_models())}")
        try:
            model = timm.create_model(name, pretrained=weights == "default")
        except (OSError, RuntimeError) as error:
            raise UserError(f"the weights of '{name}' are not to be had; set network.weights=FILE") from error
        return model, model.default_cfg["input_size"][1] if weights == "default" else None


def _quiet(builder: Callable[..., nn.Module]) -> dict[str, bool]:
    # Inception-like networks draw their initialisation slowly and answer with extra outputs unless told otherwise.
    return {"init_weights": False} if "init_weights" in inspect.signature(builder).parameters else {}


def _without_head(model: nn.Module, name: str) -> nn.Module:
    linear = [path for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise UserError(f"network '{name}' has no linear layer that could give way to a head; choose another")
    parent, _, attribute = linear[-1].rpartition(".")
    setattr(model.get_submodule(parent), attribute, nn.Identity())
    return model


def _load(model: nn.Module, path: Path) -> None:
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"network.weights={path} cannot be read ({error.strerror})") from error
    except Exception as error:
        raise UserError(f"network.weights={path} is no file of weights that torch.load reads ({type(error).__name__})") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    own = model.state_dict()
    fitting = {key: value for key, value in state.items() if key in own and getattr(value, "shape", None) == own[key].shape}
    if len(fitting) < len(own) / 2:
        raise UserError(f"network.weights={path} holds {len(fitting)} of the network's {len(own)} tensors; name the file of this network")
    model.load_state_dict(fitting, strict=False)
