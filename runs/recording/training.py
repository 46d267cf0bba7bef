"""How training went: the mean loss and accuracy of stretches of steps, one row a stretch, in `training.jsonl`.

A stretch is a two-hundredth of a phase, but at least twenty steps, and ends with its phase. It is counted in steps and not in seconds, so
that the same run writes the same bytes, interrupted or not. A step computes nothing here: losses and answers wait on the device, are put
together many at once, and become numbers when the run is looked at anyway.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runs.recording import exports, files
from strategies.phase import Step

ROWS, LEAST = 200, 20
"""Stretches in a phase at most, and steps in a stretch at least."""
WAITING, HELD = 64, 2**20
"""Steps, and numbers in their answers, that wait before they are put together."""
FILE = "training.jsonl"


@dataclass
class Stretch:
    """Steps of one update that belong into one row.

    Attributes:
        losses: scalars that wait.
        parts: named shares of the loss, which wait as well.
        answers: logits [B, K] and targets [B] that wait.
        held: numbers in these logits.
        settled: losses put together, each [n].
        right: answers that were right.
        seen: answers.
    """

    losses: list[Tensor] = field(default_factory=list)
    parts: dict[str, list[Tensor]] = field(default_factory=dict)
    answers: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    held: int = 0
    settled: list[Tensor] = field(default_factory=list)
    right: Tensor | None = None
    seen: int = 0

    def settle(self) -> Tensor | None:
        """Put together what waits.

        Returns:
            The sum of the losses that waited, float64; None if there were none.
        """
        total = None
        if self.losses:
            self.settled.append(torch.stack(self.losses))
            total = self.settled[-1].sum(dtype=torch.float64)
            self.losses = []
        self.parts = {name: [torch.cat([each.reshape(-1) for each in values])] for name, values in self.parts.items()}
        if self.answers:
            right = _right(self.answers)
            self.right = right if self.right is None else self.right + right
            self.seen += sum(len(targets) for _, targets in self.answers)
            self.answers, self.held = [], 0
        return total

    def row(self) -> dict[str, Any]:
        """Sum the steps up.

        Returns:
            Loss, and accuracy and shares of the loss where there are any, still as tensors.
        """
        self.settle()
        found: dict[str, Any] = {"loss": torch.cat(self.settled).mean(dtype=torch.float64)}
        if self.right is not None:
            found["accuracy"] = self.right.double() / self.seen
        if self.parts:
            found["parts"] = {name: values[0].mean(dtype=torch.float64) for name, values in self.parts.items()}
        return found


def _right(answers: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    if len({logits.shape[1:] for logits, _ in answers}) == 1:
        logits, targets = (torch.cat(each) for each in zip(*answers))
        return (logits.argmax(1) == targets).sum()
    return torch.stack([(logits.argmax(1) == targets).sum() for logits, targets in answers]).sum()


class TrainingLog:
    """Keeps what training steps give, and writes a row when a stretch of them is over.

    Args:
        folder: the run's directory; None to write nothing.
        wanted: further forms of the rows (`runs.recording.exports.FORMS`).
    """

    def __init__(self, folder: Path | None = None, wanted: Sequence[str] = ()) -> None:
        self.path = folder / FILE if folder else None
        self.exports = [exports.make(name, folder) for name in wanted] if folder else []
        self.steps = 0
        self._open: dict[str, Stretch] = {}
        self._optimizers: Mapping[str, torch.optim.Optimizer] = {}
        self._where: tuple[int, str] = (0, "")
        self._every, self._done = LEAST, 0
        self._rows: list[dict[str, Any]] = []
        self._total: Tensor | None = None
        self._length = 0

    def begin(self) -> None:
        """Bring the files to where the run stands: rows that a checkpoint does not know of are cut off."""
        if self.path:
            files.cut(self.path, self._length)
            if self.exports:
                training, metrics = (files.read_rows(self.path.with_name(name)) for name in (FILE, "metrics.jsonl"))
                for export in self.exports:
                    export.begin(training, metrics)

    def start_phase(self, experience: int, phase: str, steps: int, done: int, optimizers: Mapping[str, torch.optim.Optimizer]) -> None:
        """A phase begins or goes on.

        Args:
            experience: that is learned.
            phase: its name.
            steps: its length.
            done: its steps that are done already.
            optimizers: by update; their step sizes are written down.
        """
        self._where, self._optimizers = (experience, phase), optimizers
        self._every, self._done = max(LEAST, -(-steps // ROWS)), done

    def add(self, update: str, step: Step) -> None:
        """Keep what an update gave.

        Args:
            update: its name.
            step: loss and answers.
        """
        stretch = self._open.get(update)
        if stretch is None:
            stretch = self._open[update] = Stretch()
        stretch.losses.append(step.loss.detach())
        if self.path:
            if step.logits is not None and step.targets is not None:
                stretch.answers.append((step.logits.detach(), step.targets))
                stretch.held += step.logits.numel()
            for name, value in step.parts.items():
                stretch.parts.setdefault(name, []).append(value)
        if len(stretch.losses) >= WAITING or stretch.held > HELD:
            self._settle(stretch)

    def end_step(self) -> None:
        """All updates of a step have been made."""
        self.steps += 1
        self._done += 1
        if self._done % self._every == 0:
            self._close()

    def end_phase(self) -> None:
        """The phase is over: its last stretch may be shorter."""
        self._close()
        self.flush()

    def finite(self) -> bool:
        """Whether all losses since this was last asked are finite numbers.

        Returns:
            True where they are.
        """
        for stretch in self._open.values():
            self._settle(stretch)
        total, self._total = self._total, None
        # A sum that holds a NaN or an infinity is not finite itself: one look at it covers every step.
        return total is None or bool(torch.isfinite(total))

    def flush(self) -> None:
        """Write the rows of all stretches that are over."""
        if self.path and self._rows:
            rows = [_numbers(row) for row in self._rows]
            files.append(self.path, "".join(json.dumps(row) + "\n" for row in rows))
            for export in self.exports:
                export.training(rows)
        self._rows = []

    def measured(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Hand the rows of a test on, which `metrics.jsonl` has already.

        Args:
            rows: of `metrics.jsonl`.
        """
        for export in self.exports:
            export.metrics(rows)

    def _settle(self, stretch: Stretch) -> None:
        total = stretch.settle()
        if total is not None:
            self._total = total if self._total is None else self._total + total

    def _close(self) -> None:
        experience, phase = self._where
        for update, stretch in self._open.items():
            self._settle(stretch)
            if self.path and stretch.settled:
                place = {"experience": experience, "phase": phase, "update": update, "step": self.steps, "phase_step": self._done}
                rate = {"learning_rate": self._optimizers[update].param_groups[0]["lr"]}
                self._rows.append({**place, **stretch.row(), **rate})
        self._open = {}

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on; rows of stretches that are over are written first.

        Returns:
            Tensors and plain values.
        """
        self.flush()
        opened = {}
        for update, stretch in self._open.items():
            self._settle(stretch)
            losses, parts = torch.cat(stretch.settled), {name: values[0] for name, values in stretch.parts.items()}
            opened[update] = {"losses": losses, "parts": parts, "right": stretch.right, "seen": stretch.seen}
        return {"steps": self.steps, "open": opened, "length": files.length(self.path) if self.path else 0}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.

        Raises:
            ValueError: it counts below 0.
        """
        self.steps, self._length = int(state["steps"]), int(state["length"])
        if min(self.steps, self._length) < 0:
            raise ValueError(f"{self.steps} steps in {self._length} bytes of the training log")
        for update, kept in state["open"].items():
            parts = {name: [value] for name, value in kept["parts"].items()}
            self._open[update] = Stretch(settled=[kept["losses"]], parts=parts, right=kept["right"], seen=int(kept["seen"]))

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(self, *exception: object) -> None:
        for export in self.exports:
            export.close()


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            found[name] = _numbers(value)
        else:
            found[name] = float(f"{value.item():.7g}") if isinstance(value, Tensor) else value
    return found
