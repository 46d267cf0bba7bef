"""Learners on frozen features against scikit-learn and NumPy on all data at once; order, batches and a resumed run change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.neighbors import NearestCentroid

from scenarios.experience import concatenate
from strategies.phase import TrainConfig
from tests.strategies.driver import accuracy, equal, make_setup, prepared, run_experience, run_stream, tiny_scenario
from tests.strategies.memory.states import copied

METHODS = {"ncm": {}, "slda": {}, "ranpac": {"projections": 30}}


def learned(name, setting="class", batch_size=16, **options):
    train = TrainConfig(batch_size=batch_size)
    setup = make_setup(tiny_scenario(setting, dtype=torch.float64), train=train, options={"hidden": (12,)})
    strategy = run_stream(prepared(name, setup, **options))
    scenario = setup.scenario
    train, test = (concatenate([getattr(each, side) for each in scenario.experiences]).batch(slice(None)) for side in ("train", "test"))
    return strategy, [strategy.features(each.x).detach().numpy() for each in (train, test)], train.y.numpy(), test


@pytest.mark.parametrize("setting", ["task", "domain", "class"])
def test_streaming_discriminants_are_scikit_learns_on_all_data(setting):
    strategy, (known, asked), y, test = learned("slda", setting, shrinkage=1e-9)
    lda = LinearDiscriminantAnalysis(solver="lsqr", store_covariance=True).fit(known, y)
    assert np.allclose(strategy.covariance().numpy(), lda.covariance_, atol=1e-9)
    ours = strategy.logits(test.x)[:, : len(lda.classes_)].numpy()
    wanted = lda.decision_function(asked)
    wanted = np.stack([-wanted / 2, wanted / 2], 1) if wanted.ndim == 1 else wanted
    # priors are equal: both are the same up to a number for each image
    assert np.allclose(ours - ours.mean(1, keepdims=True), wanted - wanted.mean(1, keepdims=True), rtol=1e-5, atol=1e-5)


def test_the_nearest_mean_is_scikit_learns():
    strategy, (known, asked), y, test = learned("ncm")
    wanted = NearestCentroid().fit(known, y).predict(asked)
    assert (strategy.logits(test.x).argmax(1).numpy() == wanted).all()
    cosine, _, _, _ = learned("ncm", metric="cosine")
    unit = known / np.linalg.norm(known, axis=1, keepdims=True)
    means = np.stack([unit[y == label].mean(0) for label in range(6)])
    wanted = (asked / np.linalg.norm(asked, axis=1, keepdims=True)) @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    assert np.allclose(cosine.logits(test.x).numpy(), wanted, atol=1e-10)


def test_random_projections_are_ridge_regression():
    strategy, (known, asked), y, test = learned("ranpac", projections=25, ridge=0.1)
    projection = strategy.projection.numpy()
    h, asked_h = np.maximum(known @ projection, 0), np.maximum(asked @ projection, 0)
    ridge = Ridge(alpha=0.1 * (h.T @ h).diagonal().mean(), fit_intercept=False).fit(h, np.eye(6)[y])
    assert np.allclose(strategy.logits(test.x).numpy(), ridge.predict(asked_h), atol=1e-8)


@pytest.mark.parametrize("name", METHODS)
def test_neither_order_nor_batches_matter_and_the_network_stays(name):
    strategy, _, _, test = learned(name, **METHODS[name])
    other, _, _, _ = learned(name, batch_size=7, **METHODS[name])
    assert torch.allclose(strategy.logits(test.x), other.logits(test.x), atol=1e-8)
    assert equal(strategy.network.state_dict(), strategy.setup.build_network().state_dict())
    assert accuracy(strategy, strategy.setup.scenario.experiences[0]) > 0.6


@pytest.mark.parametrize("name", METHODS)
def test_resumed_between_experiences_it_goes_on_bit_for_bit(name):
    setup = make_setup(tiny_scenario("class"), options={"hidden": (12,)})
    first, second, _ = setup.scenario.experiences
    whole, resumed = prepared(name, setup, **METHODS[name]), prepared(name, setup, **METHODS[name])
    run_experience(whole, first)
    assert [whole.answers(task) for task in range(3)] == [True, False, False]
    resumed.load_state_dict(copied(whole.state_dict()))
    run_experience(whole, second), run_experience(resumed, second)
    assert equal(whole.state_dict(), resumed.state_dict())
