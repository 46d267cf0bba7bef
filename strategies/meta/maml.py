"""MAML: an initialisation from which a few gradient steps on the support set solve an episode (Finn, Abbeel & Levine, ICML 2017).

    theta_{k+1} = theta_k - alpha grad L_support(theta_k),    theta_0 = theta        (inner loop, T steps)
    theta <- theta - Adam of grad_theta mean_tasks L_query(theta_T)                  (outer loop, second order unless asked otherwise)

What adapts is every tensor but the batch norms' scale and shift, which only the outer loop learns (as in the code of MAML++, L2F and
CxGrad; a bias before a norm counts as its shift). From MAML++ (Antoniou, Edwards & Storkey, ICLR 2019) as options: a first-order beginning,
the loss of every inner step annealed (linearly, to nothing) to that of the last, and a learned step size per tensor and step. The loss is a
mean over tasks; some codes take the sum (`over_tasks=sum`), which Adam hardly notices, but a clamp of the gradient does.

The inner loop's three named steps are `initialise`, `support` and `step` (`strategies.meta.episodic.inner`): L2F, TAPL and CxGrad replace
one each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from scenarios.episodes.episodes import EpisodeBatch
from scenarios.options import option
from strategies.meta.episodic import engines
from strategies.meta.episodic.engines import EngineName
from strategies.meta.episodic.inner import Initialise, InnerLoop, Support, cross_entropy
from strategies.meta.episodic.inner import Step as InnerStep
from strategies.meta.episodic.known import known
from strategies.meta.episodic.network import Params
from strategies.meta.learner import MetaConfig, MetaStrategy, query_targets, rows, support_targets
from strategies.phase import Step

DIAGNOSTICS = ("attenuation", "log_gamma", "context_norm")


@dataclass(frozen=True, kw_only=True)
class MamlConfig(MetaConfig):
    """Options of `maml`.

    Attributes:
        inner_steps: adaptation steps in training; none for 1 on images of one channel (as in Omniglot's protocol), else 5.
        test_steps: adaptation steps in evaluation; none for as many as in training.
        inner_rate: the inner step size; none for 0.4 on images of one channel, else 0.01.
        learn_rates: learn a step size for every tensor and step, from `inner_rate` on.
        first_order: take inner gradients as constants.
        first_order_iterations: take them as constants in the first so many iterations only.
        multi_step_iterations: iterations over which the loss after every inner step is annealed to that after the last; 0 for the last
            alone.
        gradient_clamp: bound of every entry of the outer gradient of the network's parameters, on either side (the methods' own modules are
            left alone, as in L2F's code); none for no bound.
        over_tasks: the outer loss is the mean or the sum over a meta-batch's tasks.
        engine: auto, loop (one task after another), batched (all under vmap) or factored (linear layers without per-task weights).
        memory_gb: memory that the tasks held at once may take; more tasks than fit are worked off in turn.
    """

    inner_steps: int | None = option(None, low=1)
    test_steps: int | None = option(None, low=1)
    inner_rate: float | None = option(None, low=0)
    learn_rates: bool = False
    first_order: bool = False
    first_order_iterations: int = option(0, low=0)
    multi_step_iterations: int = option(0, low=0)
    gradient_clamp: float | None = option(None, low=1e-6)
    over_tasks: Literal["mean", "sum"] = "mean"
    engine: EngineName = "auto"
    memory_gb: float = option(4.0, low=0.01)


class Maml(MetaStrategy):
    """Gradient-based meta-learning.

    Args:
        config: the options.
    """

    Config = MamlConfig
    config: MamlConfig
    label: ClassVar[str] = ""
    """What a table must say about the method."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._engines: dict[str, str] = {}

    def build_parts(self) -> nn.ModuleDict:
        """The inner loop's named steps, and the learned step sizes.

        Returns:
            Modules by name.
        """
        parts: dict[str, nn.Module] = {"initialise": self.initialise(), "support": self.support(), "step": self.step()}
        if self.config.learn_rates:
            parts["rates"] = nn.ParameterList([torch.full((self.inner_steps,), self.inner_rate) for _ in self.adapted])
        return nn.ModuleDict(parts)

    def initialise(self) -> Initialise:
        """The first named step.

        Returns:
            MAML's, which changes nothing.
        """
        return Initialise()

    def support(self) -> Support:
        """The second named step.

        Returns:
            MAML's: cross-entropy on the support set.
        """
        return Support()

    def step(self) -> InnerStep:
        """The third named step.

        Returns:
            MAML's: gradient descent.
        """
        return InnerStep()

    @property
    def adapted(self) -> tuple[str, ...]:
        """The names of the tensors that adapt."""
        return self.net.weights

    @property
    def rescaled(self) -> tuple[str, ...]:
        """The names of adapted tensors whose lengths the loop sets anew, so that attenuating them does nothing."""
        return ()

    @property
    def inner_steps(self) -> int:
        """Adaptation steps in training."""
        return self.config.inner_steps or (1 if self.grey else 5)

    @property
    def inner_rate(self) -> float:
        """The inner step size, or where it starts from."""
        return self.config.inner_rate if self.config.inner_rate is not None else (0.4 if self.grey else 0.01)

    def inner(self, training: bool, answers: tuple[int, ...] | None = None, more: int = 0) -> InnerLoop:
        """The inner loop as it now stands.

        Args:
            training: with the training's number of steps, and gradients for the outer loop.
            answers: after which numbers of steps queries are answered; None for after the last.
            more: further steps.

        Returns:
            The inner loop.
        """
        config = self.config
        steps = more + (self.inner_steps if training else (config.test_steps or self.inner_steps))
        first = config.first_order or self.iteration < config.first_order_iterations or not training
        return InnerLoop(
            net=self.net,
            theta=self.theta,
            adapted=self.adapted,
            initialise=self.parts["initialise"],  # type: ignore[arg-type]
            support=self.parts["support"],  # type: ignore[arg-type]
            step=self.parts["step"],  # type: ignore[arg-type]
            rates=[self._rates(k) for k in range(steps)],
            answers=answers if answers is not None else (steps,),
            first_order=first,
            mode=config.bn_mode,
            eps=config.bn_eps,
            running=self.net.running() if config.bn_mode == "running" and not training else None,
            training=training,
        )

    def episode_loss(self, batch: EpisodeBatch) -> Step:
        """The loss of a meta-batch, in as many chunks as its memory needs.

        Args:
            batch: the episodes.

        Returns:
            The step.
        """
        weights = self._step_weights()
        inner = self.inner(True, tuple(weights))
        shares = torch.tensor(list(weights.values()), dtype=batch.support_x.dtype, device=batch.support_x.device)
        learned, divisor = self.parameters(), len(batch.support_x) if self.config.over_tasks == "mean" else 1
        chunks, losses, gradients, logits, moments = list(self._chunks(inner, batch)), [], [], [], []
        for name, part, tasks in chunks:
            found = engines.run(name, inner, tasks)
            targets = query_targets(part, found["logits"])
            loss = (cross_entropy(found["logits"], targets[:, None]) * shares).sum()
            own = inner.support.outer_loss(found, targets)
            loss = (loss if own is None else loss + own.sum()) / divisor
            if len(chunks) > 1:
                gradients.append(torch.autograd.grad(loss, learned, allow_unused=True))
                loss = loss.detach()
            losses.append(loss)
            logits.append(found["logits"][:, -1].detach())
            moments.append({key: value for key, value in found.items() if key.startswith(("mean.", "var."))})
        self._move_averages(moments)
        total = torch.stack(losses).sum()
        if gradients:
            total = known(total, gradients, learned)
        return Step(total, torch.cat(logits).flatten(0, 1), batch.query_y.flatten())

    def after_backward(self) -> None:
        """Bound the outer gradient of the network's parameters, where asked to."""
        bound = self.config.gradient_clamp
        if bound is not None:
            torch.nn.utils.clip_grad_value_(self.network.parameters(), bound)

    @torch.no_grad()
    def episode_logits(self, batch: EpisodeBatch, steps: bool = False) -> Tensor:
        """Answer episodes. Query labels are not looked at.

        Args:
            batch: the episodes.
            steps: also answer after every number of adaptation steps, from none.

        Returns:
            [E, Q, N]; with `steps`, [T + 1, E, Q, N].
        """
        last = self.config.test_steps or self.inner_steps
        logits = self.evaluated(batch, tuple(range(last + 1)) if steps else (last,))["logits"].transpose(0, 1)
        return logits if steps else logits[0]

    @torch.no_grad()
    def evaluated(self, batch: EpisodeBatch, answers: tuple[int, ...] | None = None, more: int = 0) -> Params:
        """Adapt to episodes as in evaluation.

        Args:
            batch: the episodes.
            answers: after which numbers of steps queries are answered; None for after the last.
            more: further steps than the learner takes.

        Returns:
            What `InnerLoop.run` gives, stacked.
        """
        inner = self.inner(False, answers, more)
        found = [engines.run(name, inner, tasks) for name, _, tasks in self._chunks(inner, batch, test=True)]
        return {name: torch.cat([each[name] for each in found]) for name in found[0]}

    def pseudo_labels(self, batch: EpisodeBatch) -> Tensor | None:
        """The labels that the learner itself gives the queries.

        Args:
            batch: the episodes.

        Returns:
            int64 [E, T + 1, Q] after each number of adaptation steps, from none, -1 where there is none; None for a learner without.
        """
        if not self.parts["support"].query_passes:
            return None
        # What it would go by in a further step are its labels after the last.
        return self.evaluated(batch, more=1).get("pseudo_labels")

    def diagnostics(self, batch: EpisodeBatch) -> dict[str, Tensor]:
        """What the method did inside episodes; T steps, L tensors.

        Args:
            batch: the episodes.

        Returns:
            Of L2F `attenuation` [E, L]; of CxGrad `log_gamma` [E, T, L] and `context_norm` [E, T]; of TAPL `pseudo_label_accuracy` [E, T],
            of the labels that each step goes by.
        """
        found = self.evaluated(batch)
        kept: dict[str, Tensor] = {name: found[name] for name in DIAGNOSTICS if name in found}
        if "pseudo_labels" in found:
            right = (found["pseudo_labels"] == batch.query_y[:, None]).double().sum(-1)
            kept["pseudo_label_accuracy"] = right / (batch.query_y >= 0).sum(1, keepdim=True)
        return kept

    def report(self) -> dict[str, Any]:
        """The protocol that every table needs.

        Returns:
            That of all learners of episodes, the inner loop's, and the engine.
        """
        config = self.config
        own = {
            "inner_steps": self.inner_steps,
            "test_steps": config.test_steps or self.inner_steps,
            "inner_rate": self.inner_rate,
            "order": "first" if config.first_order else "second",
            "engine": self._engines.get("train", config.engine),
            "test_engine": self._engines.get("test", config.engine),
        }
        return {**super().report(), **own, **({"label": self.label} if self.label else {})}

    def _rates(self, k: int) -> Mapping[str, Tensor | float]:
        if not self.config.learn_rates:
            return dict.fromkeys(self.adapted, self.inner_rate)
        learned = self.parts["rates"]
        return {name: rates[min(k, len(rates) - 1)] for name, rates in zip(self.adapted, learned)}  # type: ignore[call-overload]

    def _step_weights(self) -> dict[int, float]:
        last, over = self.inner_steps, self.config.multi_step_iterations
        if self.iteration >= over:
            return {last: 1.0}
        early = (1 - self.iteration / over) / last
        return {**dict.fromkeys(range(1, last), early), last: 1 - (last - 1) * early}

    def _chunks(self, inner: InnerLoop, batch: EpisodeBatch, test: bool = False) -> Iterator[tuple[str, EpisodeBatch, Params]]:
        images = batch.support_x.shape[1], batch.query_x.shape[1]
        name = engines.choose(inner, self.config.engine, *images, batch.support_x.device)
        self._engines["test" if test else "train"] = name
        tasks = tasks_of(batch, self.network.head.width)
        size = engines.tasks_at_once(inner, name, tasks, self.config.memory_gb)
        for first in range(0, len(batch.support_x), size):
            within = slice(first, first + size)
            part = batch._replace(query_y=batch.query_y[within])
            yield name, part, {key: value[within] for key, value in tasks.items()}

    def _move_averages(self, moments: list[Params]) -> None:
        if moments[0]:
            joined = {name: torch.cat([each[name] for each in moments]) for name in moments[0]}
            self.net.move_averages([(joined[f"mean.{i}"], joined[f"var.{i}"]) for i in range(len(self.net.norms))])


def tasks_of(batch: EpisodeBatch, outputs: int) -> Params:
    """What an inner loop may see of episodes: everything but the queries' labels.

    Args:
        batch: the episodes.
        outputs: width of the head.

    Returns:
        The stacked tasks.
    """
    tasks = {"support_x": batch.support_x, "query_x": batch.query_x, "targets": support_targets(batch, outputs)}
    for name, mask in (("support_rows", batch.support_mask), ("query_rows", batch.query_mask)):
        weights = rows(mask, batch.support_x)
        if weights is not None:
            tasks[name] = weights
    if batch.support_mask is not None or batch.ways < outputs:
        present = batch.present().to(batch.support_x.dtype)
        tasks["present"] = torch.nn.functional.pad(present, (0, outputs - batch.ways))
    return tasks
