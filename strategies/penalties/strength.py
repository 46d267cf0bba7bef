"""How strong a quadratic penalty is: its strength, and what its importances are measured in.

A published strength means something for one method, estimator, network and data set alone: the mean of a Fisher's diagonal is 1e-9 here and
1e-3 there. So there are two conventions:

    published    penalty = strength * sum importance x^2, as published (with the method's own factor, 1/2 or 1),
    mean         the same with importance * T / mean(importance) in its place: the mean over all parameters, after T experiences.

In `mean` an experience's importances are 1 in the mean whatever the estimator, so that one strength serves many networks and data sets, and
the penalty still grows with what there is to keep. Unless `strategy.scale` says which it is, a strength that is given is in the published
convention, and where none is given it is the method's default in `mean`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

Scale = Literal["mean", "published"]


class Strong(Protocol):
    """Options that say how strong a penalty is."""

    @property
    def strength(self) -> float | None:
        """The penalty's weight."""

    @property
    def scale(self) -> Scale | None:
        """The convention."""


@dataclass(frozen=True)
class Strength:
    """A strength in its convention.

    Attributes:
        value: the number.
        scale: the convention.
    """

    value: float
    scale: Scale

    @classmethod
    def of(cls, options: Strong, mean: float, published: float) -> Strength:
        """What options mean.

        Args:
            options: of a method.
            mean: the method's default strength in convention `mean`.
            published: the same in the published convention.

        Returns:
            The strength in force.

        Example:
            >>> from types import SimpleNamespace
            >>> Strength.of(SimpleNamespace(strength=None, scale=None), 0.1, 1000.0)
            Strength(value=0.1, scale='mean')
            >>> Strength.of(SimpleNamespace(strength=5.0, scale=None), 0.1, 1000.0)
            Strength(value=5.0, scale='published')
        """
        scale: Scale = options.scale or ("mean" if options.strength is None else "published")
        if options.strength is not None:
            return cls(options.strength, scale)
        return cls(mean if scale == "mean" else published, scale)

    def factor(self, importance: Tensor, experiences: int) -> float:
        """What importances are multiplied by in the penalty.

        Args:
            importance: of every parameter, of all experiences so far.
            experiences: how many those are.

        Returns:
            The factor; 0 where nothing is important.
        """
        if self.scale == "published" or not experiences:
            return self.value
        mean = float(importance.mean())
        return self.value * experiences / mean if mean > 0 else 0.0

    def report(self) -> dict[str, float | str]:
        """What belongs into the summary.

        Returns:
            The strength and its convention.
        """
        return {"strength": self.value, "scale": self.scale}
