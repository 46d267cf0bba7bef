"""Optimisers make torch's steps, and start without its compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from runs.optimizers import eager

CODE = """
import sys
import torch
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


def test_a_class_made_otherwise_is_given_back_as_it_is() -> None:
    class Plain(torch.optim.SGD):
        def step(self, closure=None):  # type: ignore[no-untyped-def, override]
            """A step that nothing wraps."""

    assert eager(Plain) is Plain
