"""The whole learner: nothing forgotten given the index, routed image by image, within its bounds, without old data, resumable."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch

from scenarios.errors import UserError
from scenarios.experience import Scenario
from scenarios.storage import Storage
from strategies.memory.routing import diagnose_routing
from strategies.phase import TrainConfig
from tests.strategies.driver import accuracy, equal, make_setup, prepared, run_experience, run_stream, tiny_scenario

QUICK = {"index_width": 16, "latent": 8, "generator_iterations": 12, "index_iterations": 8, "index_batch_size": 24}
TRAININGS = [
    TrainConfig(epochs=2, batch_size=16, momentum=0.9, weight_decay=0.05),
    TrainConfig(epochs=2, batch_size=16, optimizer="adam", learning_rate=0.01, weight_decay=0.05),
]
NETWORKS = [("mlp", {"norm": "batch", "hidden": (24,)}), ("conv", {"channels": (6, 9)}), ("resnet32", {"width": 4})]


def held_out(setup):
    return [experience.test.batch(slice(None)) for experience in setup.scenario.experiences]


@pytest.mark.parametrize("train", TRAININGS, ids=["momentum", "adam"])
@pytest.mark.parametrize("network, options", NETWORKS, ids=[name for name, _ in NETWORKS])
def test_given_the_index_old_answers_are_the_same_bits_after_two_more_tasks(network, options, train):
    setup = make_setup(tiny_scenario("class", shape=(1, 8, 8)), network, train, options=options)
    strategy = prepared("hnet-cnet", setup, **QUICK)
    optimizers, first = {}, {}
    with torch.no_grad():
        inputs = [batch.x for batch in held_out(setup)]
    for experience in setup.scenario.experiences:
        optimizers = run_experience(strategy, experience, optimizers)
        with torch.no_grad():
            first[experience.index] = strategy.logits(inputs[experience.index], experience.index)
            assert all(torch.equal(strategy.logits(inputs[task], task), first[task]) for task in first)


@pytest.mark.parametrize("setting", ["task", "domain", "class"])
@pytest.mark.parametrize("network", ["mlp", "conv", "resnet32"])
def test_one_task_is_ordinary_training_bit_for_bit(network, setting):
    setup = make_setup(tiny_scenario(setting, experiences=1, shape=(3, 8, 8)), network, TRAININGS[0])
    ours, plain = run_stream(prepared("hnet-cnet", setup, **(QUICK if setting != "task" else {}))), run_stream(prepared("naive", setup))
    (batch,) = held_out(setup)
    assert torch.equal(ours.logits(batch.x, 0), plain.logits(batch.x))


def test_given_the_index_forgetting_is_exactly_zero_in_setting_task():
    setup = make_setup(tiny_scenario("task", noise=90.0), train=TRAININGS[0])
    strategy, optimizers, seen = prepared("hnet-cnet", setup), {}, {}
    for experience in setup.scenario.experiences:
        optimizers = run_experience(strategy, experience, optimizers)
        seen[experience.index] = accuracy(strategy, experience)
        assert all(accuracy(strategy, setup.scenario.experiences[task]) == value for task, value in seen.items())
    assert min(seen.values()) > 0.8


@pytest.mark.parametrize("setting", ["class", "domain"])
def test_predictions_do_not_depend_on_the_batch_and_answer_with_the_named_tasks_part(setting):
    setup = make_setup(tiny_scenario(setting, dtype=torch.float64), train=TRAININGS[0])
    strategy = run_stream(prepared("hnet-cnet", setup, **QUICK))
    x = torch.cat([batch.x for batch in held_out(setup)])[torch.randperm(96, generator=torch.Generator().manual_seed(0))]
    with torch.no_grad():
        together, index = strategy.logits(x), strategy.index(x)
        assert len(index.unique()) > 1
        for number in range(0, 96, 7):
            alone = strategy.logits(x[number : number + 1])
            torch.testing.assert_close(together[number : number + 1], alone)
            torch.testing.assert_close(alone, strategy.logits(x[number : number + 1], int(index[number])))


@pytest.mark.parametrize("setting", ["class", "domain"])
def test_the_bounds_hold_and_the_measures_are_consistent(setting):
    setup = make_setup(tiny_scenario(setting, noise=110.0), train=TRAININGS[0])
    strategy = run_stream(prepared("hnet-cnet", setup, **QUICK))
    found = strategy.measure(setup.scenario)["routing"]
    assert found["bounds_hold"] and json.loads(json.dumps(found)) == found
    assert [sum(row) for row in found["confusion"]] == [32, 32, 32]
    for task in range(3):
        right, named, end = (found[f"{name}_accuracy"][task] for name in ("oracle", "index", "end_to_end"))
        assert max(0.0, right + named - 1) <= end + 1e-9
        assert setting == "domain" or end <= min(right, named) + 1e-9
        assert named == found["confusion"][task][task] / 32
        assert end == pytest.approx(accuracy(strategy, setup.scenario.experiences[task]))


def test_a_perfect_index_gives_the_oracles_accuracy_and_small_batches_change_nothing():
    setup = make_setup(tiny_scenario("class", noise=110.0), train=TRAININGS[0])
    strategy = run_stream(prepared("hnet-cnet", setup, **QUICK))
    whole = diagnose_routing(strategy, setup.scenario)
    assert diagnose_routing(strategy, setup.scenario, batch_size=7) == whole
    known = {tuple(x.flatten().tolist()): batch.task for batch in held_out(setup) for x in batch.x}
    strategy.hnet.scores = lambda x, learned: 1e6 * torch.eye(3)[[known[tuple(image.flatten().tolist())] for image in x]]
    perfect = diagnose_routing(strategy, setup.scenario)
    assert perfect["index_accuracy"] == [1.0] * 3
    assert perfect["end_to_end_accuracy"] == perfect["oracle_accuracy"] == whole["oracle_accuracy"]


@pytest.mark.parametrize("index", ["gan", "softmax"])
@pytest.mark.parametrize("weight", [0.0, 3.0])
def test_the_index_is_the_classifiers_probability_and_the_parts_confidence(index, weight):
    setup = make_setup(tiny_scenario("class", noise=110.0), train=TRAININGS[0])
    strategy = run_stream(prepared("hnet-cnet", setup, index=index, index_confidence=weight, **QUICK))
    x = torch.cat([batch.x for batch in held_out(setup)])
    with torch.no_grad():
        images = strategy.hnet.images(x)
        raw = torch.cat([part(images) for part in strategy.hnet.networks["classifiers"]], 1)
        wanted = raw.sigmoid().log() if index == "gan" else raw.softmax(1).log()
        for task, outputs in enumerate(strategy.network.outputs):
            sure = strategy.network(x, task)[:, outputs.start : outputs.stop].softmax(1).amax(1)
            wanted[:, task] += weight * sure.log()
        assert torch.equal(strategy.index(x), wanted.argmax(1))
        assert weight == 0 or not torch.equal(strategy.index(x), raw.argmax(1))


class Audited(Storage):
    """A storage that knows which tasks have been read."""

    read: list[int] = []

    def pixels(self, rows, tasks, task, augment=None):
        Audited.read += tasks.unique().tolist()
        return super().pixels(rows, tasks, task, augment)


def test_no_old_real_image_is_read_once_its_task_is_over():
    scenario = tiny_scenario("class")
    old = scenario.experiences[0].train.storage
    storage = Audited(old.images, old.view, old.scale, old.shift)
    stream = tuple(replace(e, train=replace(e.train, storage=storage)) for e in scenario.experiences)
    setup = replace(make_setup(scenario), scenario=replace(scenario, experiences=stream))
    strategy, optimizers = prepared("hnet-cnet", setup, **QUICK), {}
    for experience in stream:
        Audited.read = []
        optimizers = run_experience(strategy, experience, optimizers)
        assert set(Audited.read) == {experience.index}


@pytest.mark.parametrize("index", ["gan", "autoencoder"])
def test_saved_in_the_middle_of_any_phase_and_resumed_gives_the_same_bits(index):
    train = TrainConfig(epochs=2, batch_size=16, optimizer="adam", learning_rate=0.01)
    setup = make_setup(tiny_scenario("class"), "conv", train, options={"channels": (6,)})
    options = {**QUICK, "index": index, "generator_iterations": 4, "index_iterations": 12}
    if index == "autoencoder":
        options = {name: value for name, value in options.items() if name not in ("index_width", "index_iterations")}
    whole, saved, second = prepared("hnet-cnet", setup, **options), {}, setup.scenario.experiences[1]
    optimizers = run_experience(whole, setup.scenario.experiences[0])
    kept = {}

    def keep(phase, epochs):
        saved[phase, epochs] = copy.deepcopy(whole.state_dict())

    run_experience(whole, second, optimizers, at_boundary=keep)
    assert {phase for phase, _ in saved} == ({0, 1, 2} if index == "gan" else {0, 1})
    boundary = [max(epochs for number, epochs in saved if number == phase) for phase in sorted({number for number, _ in saved})]
    for phase, epochs in list(enumerate(boundary))[:-1]:
        resumed = prepared("hnet-cnet", setup, **options)
        resumed.load_state_dict(saved[phase, epochs])
        resumed.phases(second)[phase].end()
        run_experience(resumed, second, kept, start=(phase + 1, 0))
        assert equal(resumed.state_dict(), whole.state_dict())


def test_what_cannot_work_is_refused_before_training_with_one_line():
    setup = make_setup(tiny_scenario("class"))
    for options, line in (({"index": "oracle"}, "choose --setting task"), ({"shares": (0.5, 1.0)}, "give one for each")):
        with pytest.raises(UserError, match=line):
            prepared("hnet-cnet", setup, **options)
    with pytest.raises(UserError, match="nothing left for experience"):
        prepared("hnet-cnet", make_setup(tiny_scenario("class"), options={"hidden": (2,)}))
    labelled = run_stream(prepared("hnet-cnet", make_setup(tiny_scenario("task"), train=TRAININGS[0])))
    assert labelled.needs_label and labelled.measure(labelled.setup.scenario) == {}
    with pytest.raises(UserError, match="only the task label"):
        labelled.logits(torch.zeros(1, 1, 8, 8))


def test_before_a_task_is_learned_it_has_no_answer():
    setup = make_setup(tiny_scenario("class"))
    strategy = prepared("hnet-cnet", setup, **QUICK)
    x = held_out(setup)[0].x
    assert not strategy.answers(0) and strategy.logits(x, 0).eq(-1e9).all() and strategy.logits(x).eq(-1e9).all()
    run_experience(strategy, setup.scenario.experiences[0])
    assert strategy.answers(0) and not strategy.answers(1) and strategy.index(x).eq(0).all()


def test_the_report_counts_capacity_and_bytes():
    setup = make_setup(tiny_scenario("class"), options={"hidden": (10, 20)})
    strategy = run_stream(prepared("hnet-cnet", setup, shares=(0.5, 0.8, 1.0), **QUICK))
    report = strategy.report()
    assert [layer["filters"] for layer in report["capacity"]] == [[5, 8, 10], [10, 16, 20]]
    assert sum(report["capacity"][1]["weights"]) == 10 * 20 + 20
    assert report["hnet"]["replay_images_of_as_many_bytes"] == sum(report["hnet"]["bytes"].values()) // 64
    kept = strategy.artefacts()
    assert kept["generated"].shape == (3, 10, 1, 8, 8) and kept["seen"].shape == (3, 3, 1, 8, 8)
    x = setup.scenario.experiences[1].test.batch(slice(3)).x
    assert torch.equal(kept["seen"][1], ((strategy.hnet.images(x) + 1) * 127.5).round().to(torch.uint8))
    assert isinstance(setup.scenario, Scenario) and strategy.features(held_out(setup)[0].x).shape == (32, 20)
