"""The same sweep on Ray and through submitit gives the bits of this machine's processes; a node that dies loses no run."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runs.sweep.executor import Event
from runs.sweep.on_ray import pack, unpack
from runs.sweep.specification import Sweep
from runs.sweep.sweeping import How, run
from tests.runs.sweep.disturbed import ROOT, matrices

BASE: dict[str, Any] = {
    "scenario": {"name": "split-digits", "tasks": 2, "train_examples": 40, "test_examples": 20},
    "network": {"name": "mlp", "hidden": [4]},
    "train": {"epochs": 1},
}
SWEEP = Sweep(base=BASE, vary=({"strategy": ("naive", "si")},), seeds=(0, 1))


def needs(package: str) -> pytest.MarkDecorator:
    extra = {"submitit": "slurm"}.get(package, package)
    reason = f"{package} is not installed: pip install 'palimpsest[{extra}]'"
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=reason)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("here")
    run(SWEEP, folder / "sweep", How(jobs=2, quiet=True))
    return matrices(folder / "sweep")


@needs("submitit")
def test_jobs_through_submitit_give_the_same(here: dict[str, str], tmp_path: Path) -> None:
    once = replace(SWEEP, seeds=(1,))
    run(once, tmp_path / "sweep", How(jobs=2, executor="slurm", address="cluster=local,time=5", quiet=True))
    assert matrices(tmp_path / "sweep") == {name: matrix for name, matrix in here.items() if name.endswith("seed-1")} and len(here) == 4


@needs("ray")
def test_a_node_that_dies_in_the_middle_loses_no_run(here: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray
    from ray.cluster_utils import Cluster

    from runs.sweep import on_ray

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # The head carries nothing out: both nodes do, and one of them dies.
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    killed: list[float] = []
    try:
        cluster.connect()
        gathered = on_ray.OnRay.wait

        def wait(executor: on_ray.OnRay, seconds: float) -> list[Event]:
            if not killed and len(executor._running) == 2:
                time.sleep(1)  # both nodes have begun a run
                cluster.remove_node(nodes[1], allow_graceful=False)
                killed.append(time.time())
            return gathered(executor, seconds)

        monkeypatch.setattr(on_ray.OnRay, "wait", wait)
        run(SWEEP, tmp_path / "sweep", How(executor="ray", quiet=True))
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert killed and matrices(tmp_path / "sweep") == here
    assert not list((tmp_path / "sweep").rglob("*.part"))


def test_files_travel_whole_and_the_summary_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {"summary.json": b"{}", "controls/clean/config.yaml": b"a: 1", "metrics.jsonl": b""}
    unpack(content, tmp_path / "run")
    assert pack(tmp_path / "run") == content and pack(tmp_path / "nothing") == {}
    written = [path.stat().st_mtime_ns for path in (tmp_path / "run" / "summary.json", tmp_path / "run" / "metrics.jsonl")]
    assert written[0] >= written[1]


def test_neither_engine_is_imported_unless_it_is_asked_for() -> None:
    modules = ", ".join(f"runs.sweep.{name}" for name in ("sweeping", "service", "on_ray", "on_slurm"))
    code = f"import sys, {modules}; print({{'ray', 'submitit'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "set()", done.stderr
