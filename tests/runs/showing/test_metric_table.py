"""The page of metrics by strategy is what components say, and what it says of a kind of strategy is what a run of it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import runs
from metrics.registry import metrics
from runs.showing.metric_table import KINDS, cell, kind, markdown
from strategies.registry import strategies

PAGE = Path(__file__).parents[3] / "docs" / "metrics-by-strategy.md"
TINY = {"network": {"name": "mlp", "hidden": "8", "norm": "batch"}}
STREAM: dict[str, Any] = {"scenario": {"name": "split-digits", "train_examples": 40}, "train": {"epochs": 1}, **TINY}
GLYPHS = {"name": "domains-glyphs", "size": 8, "domain_order": (2, 5), "ways": 3, "queries": 3, "test_queries": 3, "test_episodes": 6}
DOMAINS: dict[str, Any] = {"scenario": GLYPHS, "train": {"iterations": 2}, **TINY}
TRANSFER = {**STREAM, "scenario": {"name": "transfer-split-digits", "source_examples": 200, "target_examples": 100}}
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "streams": ("ewc", STREAM),
    "Avalanche": ("avalanche:Naive", STREAM),
    "by experience": ("hnet-cnet", STREAM),
    "disposal": ("head-deletion", TRANSFER),
    "steps": ("maml", DOMAINS),
    "embedding": ("protonet", DOMAINS),
}
PIGGYBACK = {"name": "piggyback", "per_class": (2,), "steps": 3, "looks": (1,), "rates": (0.1,), "subsets": 1, "test_examples": 20}


def test_the_page_is_what_the_components_say() -> None:
    asked = "write it anew: python -m runs.showing.metric_table docs/metrics-by-strategy.md"
    assert PAGE.read_text(encoding="utf-8") == markdown(strategies), asked


@pytest.mark.parametrize("of", KINDS)
def test_a_run_has_what_its_column_says(of: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path))
    name, request = REQUESTS[of]
    assert kind(strategies.find(name)[0], strategies.load(name)[0]) == of
    if of == "Avalanche":
        pytest.importorskip("avalanche", reason="the extra 'avalanche' is not installed")
    said = {metric: cell(metric, of) for metric in metrics.names()}
    assert all(text.startswith(("always", "asked", "`--", "no: ")) for text in said.values())
    wanted = [metric for metric, text in said.items() if text.startswith(("always", "asked")) or "piggyback" in text]
    # Joint training of its own; whether 95 % are reached, or leaves anything to leak, hangs on the numbers.
    wanted = [metric for metric in wanted if metric not in ("intransigence", "leakage", "relearn_steps")]
    result = runs.simulate(**request, strategy=name, probe=PIGGYBACK, evaluate={"metrics": wanted})
    assert set(result.summary["metrics"]) == set(wanted)
