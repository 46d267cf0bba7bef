"""Copies of states, as a checkpoint would keep them."""

from __future__ import annotations

from typing import Any

import torch


def copied(state: Any) -> Any:
    if isinstance(state, torch.Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {name: copied(value) for name, value in state.items()}
    return [copied(value) for value in state] if isinstance(state, (list, tuple)) else state
