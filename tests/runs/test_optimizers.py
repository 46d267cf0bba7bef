"""Optimisers make torch's steps, and start without its compiler."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

import runs
from runs.fused import FusedSGD
from runs.optimizers import check, eager, kinds, make
from scenarios.errors import UserError
from scenarios.options import build
from strategies.phase import Optimizer, Schedule, TrainConfig

CODE = """
import sys
import torch
from runs.fused import FusedSGD
from runs.optimizers import make
from strategies.phase import Optimizer
for kind in ("sgd", "adam", "adamw"):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = make(Optimizer(kind=kind, learning_rate=0.1, momentum=0.9), [weight])
    optimizer.zero_grad()
    weight.sum().backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
sys.exit("torch._dynamo" in sys.modules)
"""


def test_no_step_imports_torchs_compiler() -> None:
    assert subprocess.run([sys.executable, "-c", CODE], check=False).returncode == 0


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam"])
def test_the_steps_are_torchs_own(name: str) -> None:
    results = []
    for kind in (getattr(torch.optim, name), eager(getattr(torch.optim, name))):
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(5, dtype=torch.float64))
        optimizer = kind([weight], lr=0.1, weight_decay=0.01)
        for _ in range(4):
            optimizer.zero_grad()
            weight.square().sum().backward()
            optimizer.step()
        assert weight.requires_grad and weight.grad is not None and torch.is_grad_enabled()
        results.append(weight.detach().clone())
    assert torch.equal(*results)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.0}, {"weight_decay": 0.1, "options": {"nesterov": True}}])
def test_the_quick_steps_of_sgd_are_torchs_own_where_parameters_join_later_and_after_a_checkpoint(options: dict[str, Any]) -> None:
    spec = Optimizer(**{"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9, **options})
    results = []
    for quick in (True, False):
        torch.manual_seed(0)
        weights = [torch.nn.Parameter(torch.randn(3, 2)) for _ in range(3)] + [torch.nn.Parameter(torch.randn(4, dtype=torch.float64))]
        groups = [{"params": weights[:2]}, {"params": weights[2:], "lr": 0.01}]
        optimizer = make(spec, groups) if quick else plain(spec, groups)
        for step in range(6):
            if step == 4:
                kept = optimizer.state_dict()
                optimizer = make(spec, groups) if quick else plain(spec, groups)
                optimizer.load_state_dict(kept)
            for weight in weights:
                weight.grad = None
            sum((weight.square().sum() for weight in weights[: 2 + step // 2]), torch.zeros(())).backward()
            optimizer.step()
        assert isinstance(optimizer, FusedSGD) is quick
        results.append([*weights, *(state["momentum_buffer"] for state in optimizer.state.values() if state)])
    assert len(results[0]) == (8 if spec.momentum else 4)
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))


def plain(spec: Optimizer, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    made = torch.optim.SGD(groups, lr=0.1, momentum=spec.momentum, weight_decay=spec.weight_decay, fused=True, **spec.options)
    for group in made.param_groups:
        for weight in group["params"] if spec.momentum else ():
            made.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return made


def test_without_the_kernel_torchs_own_class_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runs.fused.AVAILABLE", False)
    optimizer = make(Optimizer(kind="sgd", learning_rate=0.1), [torch.nn.Parameter(torch.ones(1))])
    assert isinstance(optimizer, torch.optim.SGD) and not isinstance(optimizer, FusedSGD)


def test_a_class_made_otherwise_is_given_back_as_it_is() -> None:
    class Plain(torch.optim.SGD):
        def step(self, closure=None):  # type: ignore[no-untyped-def, override]
            """A step that nothing wraps."""

    assert eager(Plain) is Plain


@pytest.mark.parametrize("name", sorted(kinds()))
def test_every_class_of_torch_makes_a_step_or_refuses_in_one_line(name: str) -> None:
    spec = Optimizer.of(build(TrainConfig, {"optimizer": name, "learning_rate": 0.01}, "train"))
    try:
        check(spec)
    except UserError as error:
        assert "\n" not in str(error)
        return
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = make(spec, [weight])
    weight.sum().backward()
    optimizer.step()
    assert not torch.equal(weight.detach(), torch.ones(2, 2))


def test_options_of_its_own_class_reach_the_optimiser_and_are_written_down(tmp_path) -> None:  # type: ignore[no-untyped-def]
    train = {"iterations": 2, "optimizer": "nadam", "optimizer_options.betas": "0.8,0.9", "optimizer_options.momentum_decay": 0.01}
    runs.simulate(scenario={"name": "split-digits", "tasks": 2}, strategy="naive", train=train, out=tmp_path / "run")
    written = (tmp_path / "run" / "config.yaml").read_text()
    assert "momentum_decay: 0.01" in written and "betas" in written
    again = build(TrainConfig, {"optimizer_options": {"nesterov": "true", "dampening": "0"}}, "train")
    assert again.optimizer_options == {"nesterov": True, "dampening": 0}
    assert make(Optimizer.of(again), [torch.nn.Parameter(torch.ones(1))]).defaults["nesterov"] is True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adm"}, "unknown optimizer 'adm'; did you mean"),
        ({"optimizer": "lbfgs"}, "unknown optimizer"),
        ({"optimizer_options.nesterv": True}, "is no option of sgd; did you mean nesterov"),
        ({"optimizer_options.nesterov": True, "momentum": 0}, "refuses its options"),
        ({"optimizer_options": 3}, "holds options by name"),
    ],
)
def test_what_cannot_be_made_is_refused_before_data_are_read(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        runs.simulate(scenario="split-mnist", strategy="naive", train=options, data_root="nowhere")


def reference(schedule: Schedule, total: int) -> list[float]:
    """The step sizes of torch's own schedulers."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    module = torch.optim.lr_scheduler
    marks = [round(mark * total) for mark in schedule.milestones]
    made = {
        "constant": lambda: module.ConstantLR(optimizer, 1.0),
        "cosine": lambda: module.CosineAnnealingLR(optimizer, total),
        "linear": lambda: module.LinearLR(optimizer, 1.0, 0.0, total),
        "multistep": lambda: module.MultiStepLR(optimizer, marks, schedule.factor),
        "step": lambda: module.StepLR(optimizer, marks[0], schedule.factor),
    }[schedule.kind]()
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made.step()
    return rates


@pytest.mark.parametrize("kind", ["constant", "cosine", "linear", "multistep", "step"])
def test_schedules_are_torchs(kind: str) -> None:
    schedule = Schedule(kind=kind, milestones=(0.3, 0.8), factor=0.5)  # type: ignore[arg-type]
    found = [schedule.share(step, 40) for step in range(40)]
    assert found == pytest.approx(reference(schedule, 40), abs=1e-9)
    warm = Schedule(kind=kind, milestones=(0.3, 0.8), factor=0.5, warmup=0.25)  # type: ignore[arg-type]
    rising = [min(1.0, (step + 1) / 10) for step in range(40)]
    assert [warm.share(step, 40) for step in range(40)] == pytest.approx([a * b for a, b in zip(rising, found)])
