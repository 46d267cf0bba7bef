"""Combinations: each method's step at its place, refusals with a reason, and L2F under CxGrad."""

from __future__ import annotations

import pytest
import torch

from scenarios.errors import UserError
from strategies import make
from tests.strategies.meta.episodes import difference, episodes, learner, meta_gradient


def test_parts_are_those_of_the_methods_named() -> None:
    one = learner("l2f+cxgrad+tapl", "conv")
    kinds = {name: type(part).__name__ for name, part in one.parts.items()}
    assert kinds == {"initialise": "Attenuation", "support": "PseudoLabelled", "step": "ContextualStep"}
    assert set(one.diagnostics(episodes())) == {"attenuation", "log_gamma", "context_norm", "pseudo_label_accuracy"}
    assert "reference design" in one.report()["label"]


@pytest.mark.parametrize("name", ["l2f", "cxgrad", "tapl"])
def test_a_method_beside_maml_is_the_method(name: str) -> None:
    options = {"inner_steps": 2, "inner_rate": 0.1}
    alone, beside = learner(name, "conv", **options), learner(f"maml+{name}", "conv", **options)
    beside.parts.load_state_dict(alone.parts.state_dict())
    assert difference(meta_gradient(alone, episodes())[1], meta_gradient(beside, episodes())[1]) == 0


@pytest.mark.parametrize("name", ["l2f+cxgrad", "cxgrad+l2f", "l2f+cxgrad+tapl"])
def test_under_cxgrad_l2f_acts_on_the_head_alone(name: str) -> None:
    one = learner(name, "conv4")
    assert one.parts["initialise"].names == one.net.weights[-2:]
    assert one.diagnostics(episodes())["attenuation"].shape == (3, 2)
    assert "l2f acts on the head alone" in one.report()["label"]
    assert len(learner("l2f+tapl", "conv4").parts["initialise"].names) == 6


def test_attenuating_the_convolutions_under_cxgrad_would_do_nothing() -> None:
    one = learner("cxgrad", "conv", inner_steps=2, inner_rate=0.1)
    before = one.episode_logits(episodes(), steps=True)[1:]
    for name in one.rescaled:
        dict(one.network.named_parameters())[name].data *= 0.1
    assert torch.allclose(before, one.episode_logits(episodes(), steps=True)[1:], atol=1e-10)


def test_options_of_all_methods_are_options_of_the_combination() -> None:
    one = make("l2f+tapl", pseudo_weight=0.5, detach_embedding=False)
    assert one.config.pseudo_weight == 0.5 and not one.config.detach_embedding


@pytest.mark.parametrize(("name", "reason"), [
    ("l2f+l2f", "both replace the step 'initialise'"),
    ("tapl+l2f+tapl", "both replace the step 'support'"),
    ("naive+l2f", "'naive' replaces no step of the inner loop"),
    ("l2f+anil", "'anil' replaces no step"),
])  # fmt: skip
def test_what_does_not_combine_is_refused_with_a_reason(name: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        make(name)
