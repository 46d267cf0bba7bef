"""A run under way: plan, engine, tests after each experience, checkpoints, and the result."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runs import afterwards, config, measures
from runs.contest import Contest
from runs.controls import Controls
from runs.engine import DivergenceError, Engine, InterruptedRunError, Position, finite
from runs.evaluate import Evaluation, evaluate
from runs.evaluate_episodes import diagnostics, evaluate_episodes
from runs.plan import Plan
from runs.recording.exports import check
from runs.recording.files import write_json, write_tensors
from runs.recording.store import FORMAT, Store, comparable, differences, load_checkpoint
from runs.recording.training import TrainingLog
from runs.result import RunResult, put_together
from runs.selection import Ensemble, Selection
from runs.showing.progress import Progress
from runs.showing.tables import write_matrix
from runs.stopping import MISSHAPEN
from scenarios.episodes.episodic import EpisodicScenario
from scenarios.errors import UserError, shortened
from strategies.probes.released import released

CHECKPOINT_SECONDS = 5.0
"""Checkpoints between passes are at least so far apart; those at the end of an experience or a phase are always taken."""
AFTERWARDS = ("test_scenario", "diagnose", "probe")
"""Entries of a configuration that a checkpoint does not depend on: what is measured when all is learned."""


@dataclass
class Run:
    """A run under way.

    Attributes:
        plan: what is done.
        store: the run's directory; None to write nothing.
        progress: is told what is going on.
        controls: what an attacked run is held against.
        initial: the accuracy matrix's first row, once it is known.
        matrix: its other rows so far.
        extra: what belongs into the summary beside the common keys.
        seconds: time spent so far, in all and in testing.
    """

    plan: Plan
    store: Store | None
    progress: Progress
    controls: Controls = field(default_factory=dict)
    initial: list[float] = field(default_factory=list)
    matrix: list[list[float]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: {"wall": 0.0, "cpu": 0.0, "evaluate": 0.0})

    def __post_init__(self) -> None:
        plan = self.plan
        self.position = Position()
        self.engine = Engine(plan.strategy, plan.train, plan.randomness, plan.device, self.progress, self.reached)
        forms = check(plan.resolved["log"]) if plan.resolved.get("log") else ()
        self.engine.log = self.log = TrainingLog(self.store.folder if self.store else None, forms)
        self.contest: Contest | None = None
        if (plan.attack or plan.defence) and not isinstance(plan.scenario, EpisodicScenario):
            named = {section: str(plan.resolved[section]["name"]) for section in config.OPTIONAL if section in plan.resolved}
            self.contest = Contest(plan.strategy, plan.scenario, plan.randomness, plan.attack, plan.defence, self.store, named)
            self.engine.hooks = self.contest
        options = plan.evaluation
        self.selection = Selection(plan.strategy, options.validate_every, options.ensemble, options.batch_size)
        self._started, self._started_cpu = time.perf_counter(), time.process_time()
        self.start_seconds, self.progress.begun = self._started - self.progress.begun, self._started
        self._saved = -math.inf
        self.measured: dict[str, Any] = {}

    def go(self, resume: bool) -> RunResult:
        """Learn the stream, from the beginning or from the last checkpoint.

        Args:
            resume: take up the checkpoint in the run's directory, if there is one.

        Returns:
            The result.

        Raises:
            InterruptedRunError: the user asked to stop while the learner was tested; everything is saved.
        """
        plan = self.plan
        if self.store:
            begun = resume and (self.store.folder / "checkpoint.pt").exists()
            known = self.restore(load_checkpoint(self.store.folder / "checkpoint.pt"), self.store.folder) if begun else 0
            self.store.cut_metrics(known)
            self.log.begin()
            for change in self.store.write_environment(plan.scenario.data, plan.device, resumed=begun):
                self.progress.say(f"{change}: the last bits of what follows may differ from those of a run without interruption")
        experiences = plan.scenario.experiences
        self.progress.start_stream(len(experiences), self.position.experience)
        if not self.initial:
            self.initial = self.test(0).row
            self.save(self.position, boundary=True)
        for experience in experiences[self.position.experience :]:
            start = self.position if self.position.experience == experience.index else Position(experience.index)
            self.engine.learn(experience, start)
            self.validate(experience.index, 0, over=True)
            result = self.test(experience.index + 1)
            self.matrix.append(result.row)
            self.extra = result.summary
            self.progress.end_experience(experience.index, experience.name, _standing(result.row, experience.index))
            if plan.probe and plan.probe.watches:
                plan.probe.watch(experience.index, released(plan.strategy.network, experience.index))
            for line in plan.strategy.remarks(experience):
                self.progress.say(f"warning: {line}")
            self.position = Position(experience.index + 1)
            self.save(self.position, boundary=True)
            if self.engine.stopping:
                raise InterruptedRunError
        return self.finish()

    def test(self, learned: int) -> Evaluation:
        """Test on the stream and write the rows down.

        Args:
            learned: how many experiences are learned.

        Returns:
            How the learner stands.

        Raises:
            DivergenceError: it answers with numbers that are not finite.
        """
        clock = time.perf_counter()
        options = self.plan.evaluation
        if isinstance(self.plan.scenario, EpisodicScenario):
            result = evaluate_episodes(self.plan.strategy, self.plan.scenario, batch_size=options.batch_size, only_first=not learned)
            if learned and self.selection.best:
                result.summary["few_shot_ensemble"] = self.ensemble()
        else:
            result = evaluate(
                self.plan.strategy,
                self.plan.scenario,
                learned,
                batch_size=options.batch_size,
                only_seen=options.stream == "seen",
                precision=self.plan.train.precision,
            )
        seconds = time.perf_counter() - clock
        self.seconds["evaluate"] += seconds
        self.progress.tested(seconds)
        after = learned - 1 if learned else "initial"
        if not result.finite:
            raise DivergenceError(f"an answer is no longer a finite number: tested after experience {after}")
        self.write([{"after_experience": after, **row} for row in result.rows])
        return result

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Write rows down.

        Args:
            rows: of what was measured.
        """
        if self.store:
            self.store.append_metrics(rows)
            self.log.measured(rows)

    def ensemble(self) -> dict[str, Any]:
        """Test the best checkpoints of the last experience together.

        Returns:
            Entries as those of `few_shot_accuracy`, the number of `members`, and the `iterations` that they are of.
        """
        assert isinstance(self.plan.scenario, EpisodicScenario)
        best = self.selection.best
        together = Ensemble(self.plan.strategy, [each["state"] for each in best])
        result = evaluate_episodes(together, self.plan.scenario, batch_size=self.plan.evaluation.batch_size)
        kept = {"members": len(best), "iterations": [each["iteration"] for each in best]}
        return {**result.summary["few_shot_accuracy"], **kept}

    def validate(self, experience: int, passes: int, *, over: bool) -> None:
        """Validate a learner of episodes, if it is time, and write the rows down.

        Args:
            experience: the one that is being learned.
            passes: done in it so far.
            over: whether it has been learned.
        """
        if isinstance(self.plan.scenario, EpisodicScenario):
            clock = time.perf_counter()
            rows = self.selection.look(self.plan.scenario, experience, passes, over)
            self.seconds["evaluate"] += time.perf_counter() - clock
            self.write(rows)

    def reached(self, position: Position, *, boundary: bool) -> None:
        """Training has come to a boundary: validate and take a checkpoint, if it is time.

        Args:
            position: what is done.
            boundary: whether a phase has just ended, or the user has interrupted.
        """
        if position.epoch and not position.step:
            self.validate(position.experience, position.epoch, over=False)
        self.save(position, boundary=boundary)

    def save(self, position: Position, *, boundary: bool) -> None:
        """Take a checkpoint, if it is time.

        Args:
            position: what is done.
            boundary: whether an experience or a phase has just ended.

        Raises:
            DivergenceError: there are numbers in it that are not finite.
        """
        now = time.perf_counter()
        if not self.store or (not boundary and now - self._saved < CHECKPOINT_SECONDS):
            return
        strategy = self.plan.strategy.state_dict()
        if not finite(strategy):
            raise DivergenceError(f"what the strategy keeps is no longer made of finite numbers: experience {position.experience}")
        self.store.save_checkpoint(
            {
                "format": FORMAT,
                "identity": self.identity(),
                "position": asdict(position),
                "strategy": strategy,
                "engine": self.engine.state_dict(),
                "initial": self.initial,
                "matrix": self.matrix,
                "extra": self.extra,
                "selection": self.selection.state_dict(),
                "training": self.log.state_dict(),
                **({"contest": self.contest.state_dict()} if self.contest else {}),
                **({"watched": self._watched()} if self.plan.probe and self.plan.probe.watches else {}),
                "metrics_length": self.store.metrics_length,
                "seconds": {**self.seconds, "wall": self.wall_seconds(), "cpu": self.cpu_seconds(), "train": self.engine.train_seconds},
                "phase_seconds": self.engine.phase_seconds,
            }
        )
        self._saved = now

    def _watched(self) -> dict[str, Any]:
        assert self.plan.probe is not None
        return {"probe": self.plan.resolved["probe"]["name"], "state": self.plan.probe.state_dict()}

    def identity(self) -> dict[str, Any]:
        """What a checkpoint belongs to: it is taken up by a run of the same configuration on the same data alone.

        Returns:
            The configuration but for where things lie, and the data's fingerprint.
        """
        resolved = {key: value for key, value in self.plan.resolved.items() if key not in AFTERWARDS}
        # Nor does it depend on what else is measured then.
        resolved["evaluate"] = {name: value for name, value in resolved["evaluate"].items() if name != "metrics"}
        return {"configuration": comparable(resolved), "data": self.plan.scenario.data.get("fingerprint")}

    def restore(self, state: dict[str, Any], folder: Path) -> int:
        """Take up a checkpoint.

        Args:
            state: what `save` wrote.
            folder: where it was written.

        Returns:
            The bytes of `metrics.jsonl` that belong to it.

        Raises:
            UserError: it is another run's, or not whole.
        """
        was = state.get("identity")
        if not isinstance(was, dict) or not isinstance(was.get("configuration"), dict):
            raise UserError("the checkpoint does not say which run it is of; start the run again in another --out")
        changed = differences({**was["configuration"], "data fingerprint": was.get("data")}, self._flat_identity())
        if changed:
            raise UserError(
                f"the checkpoint is of another run ({'; '.join(changed)}): put config.yaml and the data back as they were, "
                "or start the run again in another --out"
            )
        try:
            if self.contest:
                self.contest.load_state_dict(state["contest"], folder)
            self.plan.strategy.load_state_dict(state["strategy"])
            self.engine.load_state_dict(state["engine"])
            self.position = Position(**state["position"])
            self.initial, self.matrix, self.extra = list(state["initial"]), list(state["matrix"]), dict(state["extra"])
            self.selection.load_state_dict(state["selection"])
            if "training" in state:
                self.log.load_state_dict(state["training"])
            if self.plan.probe and state.get("watched", {}).get("probe") == self.plan.resolved["probe"]["name"]:
                self.plan.probe.load_state_dict(state["watched"]["state"])
            self.seconds = {name: float(state["seconds"][name]) for name in self.seconds}
            self.engine.train_seconds, self.engine.phase_seconds = float(state["seconds"]["train"]), dict(state["phase_seconds"])
            known = int(state["metrics_length"])
            self._check_restored(known)
            return known
        except MISSHAPEN as error:
            what = f"{type(error).__name__}: {shortened(error)}"
            raise UserError(f"the checkpoint does not fit this configuration ({what}); start again in another --out") from error

    def _flat_identity(self) -> dict[str, Any]:
        now = self.identity()
        return {**now["configuration"], "data fingerprint": now["data"]}

    def _check_restored(self, known: int) -> None:
        width, place = len(self.plan.scenario), self.position
        numbers = (place.experience, place.phase, place.epoch, place.step, known)
        if not all(isinstance(number, int) and number >= 0 for number in numbers) or place.experience > width:
            raise ValueError(f"position and length {numbers} of {width} experiences")
        if len(self.initial) not in (0, width) or len(self.matrix) != place.experience or any(len(row) != width for row in self.matrix):
            raise ValueError("an accuracy matrix of another size")

    def wall_seconds(self) -> float:
        """Seconds spent so far, those before an interruption included.

        Returns:
            Seconds.
        """
        return self.seconds["wall"] + time.perf_counter() - self._started

    def cpu_seconds(self) -> float:
        """Processor time of all threads so far: what other work on the machine changes little.

        Returns:
            Seconds.
        """
        return self.seconds["cpu"] + time.process_time() - self._started_cpu

    def finish(self) -> RunResult:
        """Measure what the method measures of itself, and write the results down.

        Returns:
            The result.
        """
        self.extra = {**self.extra, **afterwards.measure(self)}
        artefacts = {**self.plan.strategy.artefacts(), **(self.contest.artefacts() if self.contest else {})}
        if isinstance(self.plan.scenario, EpisodicScenario):
            artefacts = {**artefacts, **diagnostics(self.plan.strategy, self.plan.scenario)}
        self.measured = measures.take(self, put_together(self, None).summary, self.plan.evaluation.metrics or ())
        result = put_together(self, self.store.folder if self.store else None)
        if self.store:
            write_matrix(self.store.folder / "accuracy_matrix.csv", result.names, self.initial, self.matrix)
            if artefacts:
                write_tensors(self.store.folder / "artefacts.pt", artefacts)
            write_json(self.store.folder / "summary.json", result.summary)
        return result


def _standing(row: list[float], index: int) -> str:
    if len(row) == 1:
        return f"accuracy {100 * row[0]:.1f} %"
    seen = [value for value in row[: index + 1] if not math.isnan(value)]
    if math.isnan(row[index]) and seen:
        return f"accuracy {100 * sum(seen) / len(seen):.1f} % on all so far"
    return f"accuracy {100 * row[index]:.1f} % on it, {100 * sum(seen) / len(seen):.1f} % on all so far" if seen else "not testable yet"
