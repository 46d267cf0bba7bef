"""The pass that measures curvature: which labels, which batches, which weights, and how several tasks and draws are averaged."""

from __future__ import annotations

import copy

import pytest
import torch

from strategies.penalties.curvature.factor_pass import FactorConfig, FactorPass
from strategies.penalties.curvature.merge import batch_moments, merged_layers
from tests.strategies.driver import prepared, run_experience, run_stream
from tests.strategies.penalties.test_kfac import QUICK, after, setup_for, start
from tests.strategies.penalties.test_target_selection import GRID, setup_with_validation

DRAW = FactorPass._draw


def curvature_phase(strategy, index):
    return next(phase for phase in strategy.penalty.measuring(strategy.setup.scenario.experiences[index]) if phase.name == "curvature")


def labels_drawn(strategy, index, monkeypatch):
    """The labels of every batch of the curvature pass."""
    phase, seen = curvature_phase(strategy, index), []

    def watched(self, log_p, generator):
        # Of equal chances, so that labels of few batches differ at all.
        labels = DRAW(self, torch.zeros_like(log_p).log_softmax(1), generator)
        seen.append(torch.stack(labels))
        return labels

    monkeypatch.setattr(FactorPass, "_draw", watched)
    phase.begin()
    for batch in phase.batches.epoch(lambda purpose: torch.Generator().manual_seed(0)):
        phase.observe(batch)
    return seen


@pytest.mark.parametrize("name", ["kfac", "xkfac"])
def test_labels_are_drawn_anew_for_every_batch_and_experience(name, monkeypatch):
    strategy = after(1, name, setup_for(batch_size=8))
    first = labels_drawn(strategy, 1, monkeypatch)
    again = labels_drawn(strategy, 1, monkeypatch)
    other = labels_drawn(strategy, 2, monkeypatch)
    assert len(first) > 3
    assert all(torch.equal(one, two) for one, two in zip(first, again))
    assert len({tuple(labels.flatten().tolist()) for labels in first}) > 1
    assert any(not torch.equal(one, two) for one, two in zip(first, other))


@pytest.mark.parametrize("name", ["kfac", "xkfac"])
def test_the_pass_measures_batches_of_one_size(name):
    strategy = after(1, name, setup_for(batch_size=10))
    experience = strategy.setup.scenario.experiences[1]
    assert len(experience.train) % 10
    for phase in strategy.penalty.measuring(experience):
        sizes = {len(batch.x) for batch in phase.batches.epoch(lambda purpose: torch.Generator().manual_seed(0))}
        assert sizes == {10}, phase.name


@pytest.mark.parametrize("name, form", [("kfac", "plain"), ("xkfac", "virtual")])
def test_factors_of_several_draws_are_the_mean_of_single_draws(name, form):
    setup = setup_for()
    strategy = prepared(name, setup, **QUICK)
    experience = setup.scenario.experiences[0]
    batch, outputs = experience.train.batch(slice(0, 12)), setup.scenario.in_play(0)
    layers = merged_layers(strategy.network)

    def measured(draws, labels):
        factor_pass = FactorPass(strategy.network, layers, FactorConfig(linear=form, gate=False, draws=draws))
        factor_pass._draw = lambda log_p, generator: labels
        factor_pass.observe(batch.x, batch.y, outputs, torch.Generator(), coupled=True)
        return {key: value.dense() for key, value in factor_pass.curvature().items()}

    generator = torch.Generator().manual_seed(3)
    labels = [torch.randint(outputs.start, outputs.stop, (12, 1), generator=generator) for _ in range(3)]
    together = measured(3, labels)
    apart = [measured(1, [each]) for each in labels]
    for key, found in together.items():
        assert torch.allclose(found, sum(each[key] for each in apart) / 3, rtol=1e-9, atol=1e-12), key


@pytest.mark.parametrize("name", ["kfac", "xkfac"])
def test_the_number_of_draws_arrives_where_labels_are_drawn(name):
    strategy = prepared(name, setup_for(), label_draws=4, **QUICK)
    assert strategy.penalty.factors.config.draws == 4
    assert len(strategy.penalty.factors._draw(torch.zeros(5, 2, dtype=torch.float64), torch.Generator().manual_seed(0))) == 4


@pytest.mark.parametrize("name", ["kfac", "xkfac"])
def test_curvature_is_measured_of_layers_that_have_taken_their_norm_in(name):
    strategy = after(1, name)
    # As training leaves them, norms scale their layer; the pass begins by writing the merged map into the layer.
    with torch.no_grad():
        for layer in strategy.penalty.layers:
            if layer.norm is not None:
                layer.norm.weight.mul_(1.5)
    merged = {layer.name: layer.parameters().detach().clone() for layer in strategy.penalty.layers}
    curvature_phase(strategy, 1).begin()
    for layer in strategy.penalty.layers:
        raw = layer.layer.weight.detach().flatten(1)
        assert torch.allclose(raw, merged[layer.name].flatten(0, 1)[:, : raw.shape[1]], rtol=1e-9, atol=1e-12), layer.name


def test_the_running_mean_counts_tasks_that_a_head_was_not_in():
    setup = setup_for("class")
    listed = after(3, "kfac", setup, accumulate="list").penalty.terms
    penalty = prepared("kfac", setup, accumulate="running", **QUICK).penalty
    for index in range(3):
        # What each task measured, fed to the other way of accumulating: heads join when their classes do.
        measured = {name: terms[index - 3 + len(terms)] for name, terms in listed.items() if index >= 3 - len(terms)}
        penalty.factors.curvature = lambda measured=measured: measured
        penalty.factors.loss = lambda: torch.zeros((), dtype=torch.float64)
        penalty.after_experience()
    assert [len(listed[f"head.blocks.{block}"]) for block in range(3)] == [3, 2, 1]
    for name, terms in listed.items():
        left, right = (sum(getattr(each, side) for each in terms)[0, 0] / len(terms) for side in ("left", "right"))
        expected = torch.kron(left, right) * len(terms) / 3
        assert torch.allclose(penalty.curvature(name).dense()[0], expected, rtol=1e-9, atol=1e-12), name


def test_the_batchs_statistics_are_those_that_the_norm_normalises_by():
    strategy = after(1, merge_stats="batch")
    start(strategy, 1)
    batch = strategy.setup.scenario.experiences[1].train.batch(slice(0, 5))
    network, layers = strategy.network.train(), strategy.penalty.layers
    seen = {}
    for layer in layers:
        if layer.norm is not None:
            layer.norm.register_forward_pre_hook(lambda module, inputs, name=layer.name: seen.update({name: inputs[0].detach()}))
    with batch_moments(layers) as noted:
        network(batch.x)
    for name, flowing in seen.items():
        mean, variance = noted[name]
        centred = flowing - flowing.mean(0)
        assert torch.allclose(mean, flowing.mean(0), rtol=1e-12)
        assert torch.allclose(variance, centred.square().sum(0) / len(flowing), rtol=1e-12)


def test_the_second_candidate_ends_as_if_it_had_been_the_only_one():
    setup = setup_with_validation(epochs=3, batch_size=100)  # whole batches: the order within them matters to the rounding alone
    first, second = setup.scenario.experiences[:2]

    def ends(*rates):
        options = {**GRID, "select_learning_rates": rates, "select_dampings": (1e-3,)}
        strategy = run_stream(prepared("kfac", setup, **options), [first])
        networks, judge = [], strategy.selection._judge

        def watched(*arguments):
            networks.append(copy.deepcopy(strategy.network.state_dict()))
            judge(*arguments)

        strategy.selection._judge = watched
        run_experience(strategy, second)
        return networks

    together, alone = ends(0.05, 0.01)[1], ends(0.01)[0]
    for key, value in together.items():
        assert torch.allclose(value.double(), alone[key].double(), rtol=1e-6, atol=1e-9), key
