"""A run under way: plan, engine, tests after each experience, checkpoints, and the result."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runs import afterwards, checkpoints, config, measures
from runs.contest import Contest
from runs.controls import Controls
from runs.engine import DivergenceError, Engine, InterruptedRunError, Position
from runs.evaluate import Evaluation, evaluate
from runs.evaluate_episodes import diagnostics, evaluate_episodes
from runs.plan import Plan
from runs.recording.exports import check
from runs.recording.files import write_json, write_tensors
from runs.recording.store import Store, load_checkpoint
from runs.recording.training import TrainingLog
from runs.result import RunResult, put_together
from runs.selection import Ensemble, Selection
from runs.showing.progress import Progress
from runs.showing.tables import write_matrix
from scenarios.episodes.episodic import EpisodicScenario
from strategies.probes.released import released

CHECKPOINT_SECONDS = 5.0
"""Checkpoints between passes are at least so far apart; those at the end of an experience or a phase are always taken."""


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
        self.engine.ranks = plan.ranks
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
            state = load_checkpoint(self.store.folder / "checkpoint.pt") if begun else None
            if plan.ranks:
                state = plan.ranks.from_first(state)
            known = checkpoints.restore(self, state, self.store.folder) if state else 0
            self.store.cut_metrics(known)
            self.log.begin()
            for change in self.store.write_environment(plan.scenario.data, plan.device, resumed=begun):
                self.progress.say(f"{change}: the last bits of what follows may differ from those of a run without interruption")
        elif plan.ranks and (state := plan.ranks.from_first(None)):
            checkpoints.restore(self, state, Path())
        experiences = plan.scenario.experiences
        self.progress.start_stream(len(experiences), self.position.experience)
        if not self.initial:
            self.initial = self.test(0).row
            self.save(self.position, boundary=True)
        for experience in experiences[self.position.experience :]:
            start = self.position if self.position.experience == experience.index else Position(experience.index)
            self.engine.learn(experience, start)
            if plan.ranks:
                plan.ranks.check_together(plan.strategy.network)
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
            if self.engine.stop_here():
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
        """
        now = time.perf_counter()
        if not self.store or (not boundary and now - self._saved < CHECKPOINT_SECONDS):
            return
        self.store.save_checkpoint(checkpoints.contents(self, position, self.store.metrics_length))
        self._saved = now

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
