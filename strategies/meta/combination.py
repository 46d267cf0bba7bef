"""Combinations of methods that replace different steps of MAML's inner loop, by name: `l2f+cxgrad`, `l2f+cxgrad+tapl`, ...

Each paper replaces one of the steps `initialise`, `step` and `support`, so they combine. Two that claim the same step do not. CxGrad's
normalisation undoes L2F's attenuation of the weights that a norm follows; under it L2F therefore acts on the head alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scenarios.errors import UserError
from strategies.meta.cxgrad import CxGrad, CxGradConfig
from strategies.meta.episodic.inner import Initialise, Support
from strategies.meta.episodic.inner import Step as InnerStep
from strategies.meta.l2f import L2F, L2FConfig
from strategies.meta.maml import Maml
from strategies.meta.metasgd import MetaSgd
from strategies.meta.tapl import Tapl, TaplConfig

METHODS: dict[str, type[Maml]] = {"maml": Maml, "l2f": L2F, "cxgrad": CxGrad, "metasgd": MetaSgd, "tapl": Tapl}


@dataclass(frozen=True, kw_only=True)
class CombinationConfig(L2FConfig, CxGradConfig, TaplConfig):
    """Options of a combination: those of its methods.

    Attributes:
        a: the first method; the strategy's name says it.
        b: the others, joined by plus signs; the strategy's name says them.
    """

    a: str = "l2f"
    b: str = "cxgrad"


class Combination(Maml):
    """MAML with several steps of its inner loop replaced.

    Args:
        config: the options.

    Raises:
        UserError: a name is no method of the inner loop, or two claim the same step.
    """

    Config = CombinationConfig
    config: CombinationConfig

    def __init__(self, config: CombinationConfig) -> None:
        super().__init__(config)
        self.methods: dict[str, tuple[str, Any]] = {}
        for name in [config.a, *config.b.split("+")]:
            if name not in METHODS:
                raise UserError(f"'{name}' replaces no step of the inner loop; combine {', '.join(METHODS)}")
            step = getattr(METHODS[name], "replaces", "")
            if step in self.methods:
                raise UserError(f"{self.methods[step][0]} and {name} both replace the step '{step}'; choose one of them")
            if step:
                self.methods[step] = (name, METHODS[name])

    @property
    def label(self) -> str:  # type: ignore[override]
        """What a table must say about the methods."""
        notes = [f"{name}: {method.label}" for name, method in self.methods.values() if method.label]
        if {"initialise", "step"} <= self.methods.keys():
            notes.append("l2f acts on the head alone")
        return "; ".join(notes)

    @property
    def rescaled(self) -> tuple[str, ...]:
        """The names of the tensors whose lengths the loop sets anew."""
        return CxGrad.rescaled.fget(self) if "step" in self.methods else ()  # type: ignore[attr-defined]

    def initialise(self) -> Initialise:
        """The first named step.

        Returns:
            That of the method which claims it, or MAML's.
        """
        return self._of("initialise")

    def support(self) -> Support:
        """The second named step.

        Returns:
            That of the method which claims it, or MAML's.
        """
        return self._of("support")

    def step(self) -> InnerStep:
        """The third named step.

        Returns:
            That of the method which claims it, or MAML's.
        """
        return self._of("step")

    def _of(self, step: str) -> Any:
        method = self.methods[step][1] if step in self.methods else Maml
        return getattr(method, step)(self)
