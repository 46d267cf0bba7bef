"""As many runs share a GPU as its memory holds; a function stands for the memory, since the tests' machine has no GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from runs.sweep import processes, work
from runs.sweep.executor import Outcome, Task
from runs.sweep.sharing import CONTEXT, Sharing
from runs.sweep.specification import Sweep
from runs.sweep.sweeping import How, run, shared
from scenarios.errors import UserError
from tests.runs.sweep.test_executors import BASE

GIB = 2**30


def fake(device: int) -> int:
    """Free bytes: six gibibytes on GPU 0, nearly nothing on GPU 1."""
    return (6 * GIB, GIB // 4)[device]


def test_the_first_run_is_alone_and_what_it_took_says_how_many_follow() -> None:
    sharing = Sharing(devices=2, most=8)
    assert (sharing.room, sharing.capacity(0), sharing.choose()) == (2, 1, 0)
    sharing.available = {0: fake(0), 1: fake(1)}
    sharing.running[0] += 1
    assert (sharing.room, sharing.choose()) == (1, 1)
    sharing.ended(0, GIB)
    assert sharing.capacity(0) == int(0.95 * 6 * GIB / (1.25 * GIB + CONTEXT)) == 3 and sharing.capacity(1) == 1
    sharing.running.update({0: 3, 1: 1})
    assert sharing.room == 0
    # A greater run comes: no more begin until it is quieter.
    sharing.ended(1, 2 * GIB)
    assert sharing.capacity(0) == 1 and sharing.room == 1 and sharing.choose() == 1
    assert Sharing(devices=1, most=2, available={0: 100 * GIB}, peak=GIB).capacity(0) == 2


def test_where_memory_runs_out_fewer_share_it_and_a_run_alone_has_failed() -> None:
    sharing = Sharing(devices=1, most=4, available={0: 100 * GIB}, peak=GIB)
    sharing.running[0] = 3
    assert sharing.overflowed(0) and sharing.capacity(0) == 2 and sharing.room == 0
    sharing.running[0] = 1
    assert not sharing.overflowed(0) and sharing.running[0] == 0


def test_flags_set_the_number() -> None:
    assert shared(0, How()) is None
    for how, each in ((How(per_device=3), 3), (How(jobs=5), 3), (How(jobs=1), 1)):
        sharing = shared(2, how)
        assert sharing is not None and (sharing.most, sharing.fixed, sharing.capacity(1)) == (each, True, each)
    automatic = shared(1, How())
    assert automatic is not None and not automatic.fixed and automatic.capacity(0) == 1
    with pytest.raises(UserError, match="no GPU here that runs could share"):
        shared(0, How(per_device=2))
    with pytest.raises(UserError, match="leave it out"):
        run(Sweep(base={**BASE, "device": "cpu", "strategy": {"name": "naive"}}), Path("none"), How(per_device=2, quiet=True))


def test_processes_fill_gpus_by_the_memory_that_is_measured(tmp_path: Path) -> None:
    workers = processes.Processes(8, 1)
    # On a CPU a run's peak is that of its process with torch: some hundred mebibytes.
    sharing = workers.sharing = Sharing(devices=2, most=4, memory=f"{__name__}:fake")
    tasks = [Task(str(seed), {**BASE, "strategy": "naive", "seed": seed, "device": "cpu"}, tmp_path / str(seed)) for seed in range(6)]
    try:
        assert workers.free == 2
        under_way, most, outcomes = 0, [0], []
        while tasks or under_way:
            while tasks and workers.free:
                workers.submit(tasks.pop(0))
                under_way += 1
            most.append(sharing.running[0])
            for event in workers.wait(1):
                if event.outcome is not None:
                    under_way -= 1
                    outcomes.append(event.outcome)
        assert [outcome.kind for outcome in outcomes] == ["done"] * 6, outcomes
        assert sharing.available == {0: fake(0), 1: fake(1)} and sharing.peak == max(o.summary["peak_memory_bytes"] for o in outcomes)
        assert max(most) > 1 and sharing.capacity(1) == 1 and not +sharing.running
    finally:
        workers.close()


def test_too_little_memory_is_an_outcome_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> Outcome:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(work, "_patiently", full)
    outcome = work.perform(Task("one", {}, tmp_path), lambda where, left: None)
    assert outcome.kind == "no memory" and "fewer --jobs" in outcome.line
