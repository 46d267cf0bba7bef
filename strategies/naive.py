"""Naive fine-tuning: each experience is learned in turn, and nothing is done against forgetting. The lower bound of every comparison."""

from __future__ import annotations

from strategies.base import Strategy


class Naive(Strategy):
    """Fine-tuning on each experience in turn."""

    needs_boundaries = False
