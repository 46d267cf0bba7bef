"""A run of ours watched by a logger of Avalanche (avalanche-lib >= 0.6): `--log avalanche:InteractiveLogger`.

What a logger would hear from Avalanche's own loop it hears here from the rows of `training.jsonl` and `metrics.jsonl`, in Avalanche's order
of callbacks and under Avalanche's names. A stretch of steps stands for an iteration; the callbacks of a pass come once an experience, with
the last stretch's numbers. In place of the strategy it gets an object with the attributes that loggers read: experience, clock, dataloader,
is_training, is_eval.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from runs import yaml_files
from scenarios.bridges.foreign import library
from scenarios.errors import UserError, nearest, shortened

Rows = Sequence[Mapping[str, Any]]


def logger(name: str) -> Any:
    """Find a logger of Avalanche.

    Args:
        name: of its class, in any case.

    Returns:
        The class.

    Raises:
        UserError: Avalanche is not installed, or has no such logger.
    """
    module = library("avalanche.logging")
    known = {each.lower(): kind for each, kind in vars(module).items() if inspect.isclass(kind) and issubclass(kind, module.BaseLogger)}
    known.pop("baselogger")
    if name.lower() not in known:
        raise UserError(f"Avalanche has no logger '{shortened(name)}'{nearest(name, [kind.__name__ for kind in known.values()])}")
    return known[name.lower()]


class AvalancheLog:
    """A logger of Avalanche as a further form of a run's rows; what it writes to files lies in `avalanche/`.

    Args:
        name: of the logger's class.
        folder: the run's directory.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.kind, self.folder = logger(name), folder
        self._theirs: Any = None
        self._file: Any = None
        self._learning: int | None = None
        self._last: Mapping[str, Any] = {}

    def begin(self, training: Rows, metrics: Rows) -> None:
        """Make the logger, and let it hear what there is already.

        Args:
            training: rows of the training log.
            metrics: rows of what was measured.
        """
        self.close()
        place = self.folder / "avalanche"
        place.mkdir(exist_ok=True)
        taken = inspect.signature(self.kind).parameters
        given: dict[str, Any] = {name: str(place) for name in ("log_folder", "tb_log_dir") if name in taken}
        if "file" in taken:
            self._file = given["file"] = (place / "log.txt").open("w", encoding="utf-8")
        self._theirs = self.kind(**given)
        self.setting = yaml_files.load(self.folder / "config.yaml", "the configuration").get("scenario", {}).get("setting")
        self.learned_first: dict[int, float] = {}
        self._learning = None
        done = [row["after_experience"] for row in metrics if row.get("after_experience") != "initial" and "after_experience" in row]
        self.metrics([row for row in metrics if row.get("after_experience") == "initial"])
        for experience in dict.fromkeys(done):
            self.training([row for row in training if row["experience"] == experience])
            self.metrics([row for row in metrics if row.get("after_experience") == experience])
        self.training([row for row in training if row["experience"] not in set(done)])

    def training(self, rows: Rows) -> None:
        """A stretch of steps is over.

        Args:
            rows: of the training log.
        """
        for row in rows:
            if self._learning != row["experience"]:
                self._learning = row["experience"]
                self._tell("before_training before_training_exp", self._strategy(row["experience"], row))
            where = f"train_phase/train_stream/{row['phase']}"
            names = {"loss": "Loss_Stretch", "accuracy": "Top1_Acc_Stretch", "learning_rate": "Learning_Rate"}
            values = [self._value(f"{told}/{where}", row[name], row["step"]) for name, told in names.items() if name in row]
            self._tell("after_training_iteration", self._strategy(row["experience"], row), values)
            self._last = row

    def metrics(self, rows: Rows) -> None:
        """The stream has been tested.

        Args:
            rows: of what was measured.
        """
        wanted = "few_shot_accuracy" if self.setting in (None, "episodic") else f"accuracy_{self.setting}"
        found = [row for row in rows if row["metric"] == wanted and "after_experience" in row]
        if not found:
            return
        after = found[0]["after_experience"]
        learned = -1 if after == "initial" else int(after)
        if self._learning is not None:
            strategy = self._strategy(self._learning, self._last)
            means = [
                self._value(f"{told}/train_phase/train_stream", self._last[name], self._last["step"])
                for name, told in (("loss", "Loss_Epoch"), ("accuracy", "Top1_Acc_Epoch"))
                if name in self._last
            ]
            self._tell("after_training_epoch", strategy, means)
            self._tell("after_training_exp after_training", strategy)
            self._learning = None
        self._tell("before_eval", self._strategy(found[0]["on_experience"]))
        for row in found:
            self._tested(row["on_experience"], learned, row["value"])
        mean = sum(row["value"] for row in found) / len(found)
        values = [self._value("Average_Acc/eval_phase/test_stream", mean, learned + 1)]
        self._tell("after_eval", self._strategy(found[-1]["on_experience"]), values)

    def _tested(self, experience: int, learned: int, accuracy: float) -> None:
        strategy = self._strategy(experience)
        where = f"eval_phase/test_stream/Exp{experience:03d}"
        values = [self._value(f"Top1_Acc_Exp/{where}", accuracy, learned + 1)]
        if experience == learned:
            self.learned_first[experience] = accuracy
        elif experience in self.learned_first:
            # Their definition: the value just after learning, minus the present one.
            values.append(self._value(f"ExperienceForgetting/{where}", self.learned_first[experience] - accuracy, learned + 1))
        self._tell("before_eval_exp after_eval_iteration", strategy)
        self._tell("after_eval_exp", strategy, values)

    def _tell(self, callbacks: str, strategy: Any, values: Sequence[Any] = ()) -> None:
        if values:
            self._theirs.log_metrics(list(values))
        for callback in callbacks.split():
            hook = getattr(self._theirs, callback, None)
            if hook is not None:
                hook(strategy, list(values))

    def _value(self, name: str, value: float, step: int) -> Any:
        return library("avalanche.evaluation.metric_results").MetricValue(None, name, value, step)

    def _strategy(self, experience: int, trained: Mapping[str, Any] | None = None) -> Any:
        stream = SimpleNamespace(name="test" if trained is None else "train")
        return SimpleNamespace(
            experience=SimpleNamespace(
                current_experience=experience, origin_stream=stream, task_labels=[experience] if self.setting == "task" else [0]
            ),
            is_training=trained is not None,
            is_eval=trained is None,
            clock=SimpleNamespace(train_exp_epochs=1, train_exp_counter=experience, train_iterations=trained["step"] if trained else 0),
            dataloader=[None],
            device=torch.device("cpu"),
        )

    def close(self) -> None:
        """Write what waits."""
        if hasattr(self._theirs, "close"):
            self._theirs.close()
        if self._file is not None:
            self._file.close()
        self._theirs = self._file = None
