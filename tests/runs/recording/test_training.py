"""The training log: its numbers are the means of the steps, it costs no step anything, and it survives every interruption."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from runs.engine import Engine, Position
from runs.plan import make_plan
from runs.recording import training
from runs.recording.training import TrainingLog
from runs.showing.progress import Progress
from runs.simulation import carry_out, simulate
from strategies.phase import Step
from tests.runs.command import TINY, call
from tests.runs.test_resume import ASKED, interrupted

FORMS = {**ASKED, "train": {**ASKED["train"], "epochs": 8}, "log": "csv,tensorboard"}


def rows_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Scalars of the event files as TensorBoard itself reads them: by tag, step and value."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return {tag: [(each.step, each.value) for each in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("tensorboard")
    folder = tmp_path_factory.mktemp("runs") / "whole"
    carry_out(make_plan(FORMS, Progress()), folder, resume=False, progress=Progress())
    return folder


def learn(tmp_path: Path, steps: list[Step], every: int, phases: int = 1) -> list[dict]:
    log = TrainingLog(tmp_path)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    for phase in range(phases):
        log.start_phase(phase, "train", every * training.ROWS, 0, {"network": optimizer})
        for step in steps:
            log.add("network", step)
            log.end_step()
        log.end_phase()
    return rows_of(tmp_path)


@pytest.mark.parametrize("waiting", [1, 7, 64])
def test_a_row_is_the_mean_of_the_steps_since_the_last_one(waiting: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "WAITING", waiting)
    generator = torch.Generator().manual_seed(0)
    steps = []
    for index in range(75):
        logits, targets = torch.randn(3 + index % 2, 4, generator=generator), torch.randint(4, (3 + index % 2,), generator=generator)
        steps.append(Step(torch.rand((), generator=generator), logits, targets, {"distance": torch.rand((), generator=generator)}))
    rows = learn(tmp_path, steps, 30)
    assert [row["phase_step"] for row in rows] == [30, 60, 75]
    for row, start in zip(rows, (0, 30, 60)):
        part = steps[start : row["phase_step"]]
        right = torch.cat([each.logits.argmax(1) == each.targets for each in part])
        assert row["loss"] == pytest.approx(sum(float(each.loss) for each in part) / len(part), rel=1e-6)
        assert row["parts"]["distance"] == pytest.approx(sum(float(each.parts["distance"]) for each in part) / len(part), rel=1e-6)
        assert row["accuracy"] == pytest.approx(float(right.float().mean()), rel=1e-6)
        assert (row["learning_rate"], row["update"], row["experience"]) == (0.5, "network", 0)


def test_steps_count_on_from_phase_to_phase_and_answers_of_other_widths_are_counted_too(tmp_path: Path) -> None:
    steps = [Step(torch.tensor(1.0), torch.eye(2 + index % 3), torch.arange(2 + index % 3)) for index in range(25)]
    rows = learn(tmp_path, steps, 20, phases=2)
    assert [(row["step"], row["phase_step"], row["experience"]) for row in rows] == [(20, 20, 0), (25, 25, 0), (45, 20, 1), (50, 25, 1)]
    assert {row["accuracy"] for row in rows} == {1.0}


def test_a_long_phase_has_no_more_rows_than_are_read_and_a_loss_without_answers_has_no_accuracy(tmp_path: Path) -> None:
    rows = learn(tmp_path, [Step(torch.tensor(2.0)) for _ in range(training.ROWS * 25)], 25)
    assert len(rows) == training.ROWS and {row["loss"] for row in rows} == {2.0} and "accuracy" not in rows[0]


@pytest.mark.parametrize("steps", [13, 20, 95])
def test_interrupted_and_resumed_it_has_the_bytes_of_one_that_was_not(steps: int, whole: Path, tmp_path: Path) -> None:
    interrupted(FORMS, tmp_path / "run", steps)
    with (tmp_path / "run" / "training.jsonl").open("a") as file:
        file.write('{"step": 10000, "lo')
    carry_out(make_plan(FORMS, Progress()), tmp_path / "run", resume=True, progress=Progress())
    for name in ("training.jsonl", "training.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes()
    assert events(tmp_path / "run") == events(whole)


def test_all_forms_hold_the_rows_of_the_json_lines(whole: Path) -> None:
    rows = rows_of(whole)
    assert rows[-1]["step"] == sum(max(row["phase_step"] for row in rows if row["experience"] == index) for index in range(5))
    with (whole / "training.csv").open() as file:
        assert [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)] == [(row["step"], row["loss"]) for row in rows]
    found = events(whole)
    assert found["train/loss"] == [(row["step"], pytest.approx(row["loss"])) for row in rows]
    assert found["train/accuracy"] == [(row["step"], pytest.approx(row["accuracy"])) for row in rows]
    measured = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert sum(len(values) for tag, values in found.items() if "experience" in tag) == len(measured)
    assert [step for step, _ in found["accuracy_task/experience 0"]] == [0, 1, 2, 3, 4, 5]


def test_the_log_makes_no_other_run_and_is_no_part_of_what_is_compared(whole: Path, tmp_path: Path) -> None:
    asked = {name: value for name, value in FORMS.items() if name != "log"}
    interrupted(asked, tmp_path / "run", 30)
    carry_out(make_plan(FORMS, Progress()), tmp_path / "run", resume=True, progress=Progress())
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


STREAM = {"scenario": {"name": "split-digits", "tasks": 2}, "strategy": "rescl", "network": {"hidden": "8"}, "train": {"epochs": 1}}
EPISODES = {
    "scenario": {"name": "digits", "queries": 3, "test_episodes": 6},
    "strategy": {"name": "maml", "meta_batch": 2},
    "network": {"name": "mlp", "hidden": "8", "norm": "batch"},
    "train": {"iterations": 3},
}
DISPOSAL = {
    "scenario": {"name": "transfer-split-digits", "source_examples": 200, "target_examples": 100},
    "strategy": {"name": "gc", "source_batch": 32, "steps": 3, "reprobe": 3},
    "network": {"hidden": "8"},
    "train": {"epochs": 1},
    "probe": {"name": "none"},
}


@pytest.mark.parametrize(
    ("options", "phases"),
    [
        (STREAM, {"train", "fine-tune", "combine"}),
        (EPISODES, {"meta-train"}),
        (DISPOSAL, {"pre-train", "transfer", "dispose"}),
    ],
)
def test_streams_episodes_and_disposals_have_rows_of_every_phase(options: dict, phases: set[str], tmp_path: Path) -> None:
    simulate(**options, out=tmp_path / "run")
    rows = rows_of(tmp_path / "run")
    assert {row["phase"] for row in rows} >= phases, {row["phase"] for row in rows}
    assert all(0 <= row["accuracy"] <= 1 for row in rows if "accuracy" in row)


@pytest.mark.parametrize(("log", "words"), [("tensorbord", "did you mean tensorboard?"), ("csv,xml", "--log xml does not exist")])
def test_a_form_that_there_is_not_is_told_before_anything_is_written(log: str, words: str, tmp_path: Path) -> None:
    code, _, error = call(*TINY, "--out", tmp_path / "run", "--log", log)
    assert code == 2 and words in error and not (tmp_path / "run").exists()


def test_an_engine_without_a_directory_keeps_no_answers() -> None:
    engine = Engine.__dataclass_fields__["log"].default_factory()  # type: ignore[misc]
    engine.start_phase(0, "train", 10, 0, {})
    engine.add("network", Step(torch.tensor(float("nan")), torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64)))
    assert not engine._open["network"].answers and not engine.finite() and engine.finite() and Position().fresh
