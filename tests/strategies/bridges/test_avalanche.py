"""The bridge to Avalanche: the same network, order, batches and seed give the same learner, and its numbers translate into ours."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

import runs
import scenarios
from metrics import continual
from runs import plots
from runs.plan import make_plan
from runs.showing.progress import Progress
from scenarios.bridges.avalanche import from_benchmark
from scenarios.bridges.foreign import library
from scenarios.errors import UserError
from scenarios.streams.cutting import StreamConfig

TRAIN = {"epochs": 2, "optimizer": "sgd", "learning_rate": 0.05, "batch_size": 16}
STREAM = {"name": "split-digits", "tasks": 5, "train_examples": 60, "test_examples": 40}


def test_importing_the_project_imports_neither_avalanche_nor_learn2learn():
    code = (
        "import sys, scenarios, strategies, metrics, runs, runs.cli, runs.simulation, runs.showing.listing as l;"
        "[registry.load(name) for registry in l.registries().values() for name in registry.names() if ':' in name];"
        "sys.exit(any(name.split('.')[0] in ('avalanche', 'learn2learn', 'gym') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_avalanche_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "avalanche.training.supervised", None)
    with pytest.raises(UserError, match="pip install 'avalanche-lib"):
        runs.simulate(scenario=STREAM, strategy="avalanche:Naive", train=TRAIN)


avalanche = pytest.importorskip("avalanche", reason="the extra 'avalanche' is not installed")


def simulate(strategy, setting="class", **train):
    return runs.simulate(scenario={**STREAM, "setting": setting}, strategy=strategy, train={**TRAIN, **train})


@pytest.mark.parametrize("setting", ["task", "domain", "class"])
def test_their_naive_is_ours(setting):
    ours, theirs = simulate("naive", setting, weight_decay=0.01), simulate("avalanche:Naive", setting, weight_decay=0.01)
    for (name, one), two in zip(ours.strategy.network.named_parameters(), theirs.strategy.network.parameters()):
        assert torch.allclose(one, two, rtol=1e-4, atol=1e-5), name
    assert torch.allclose(ours.matrix, theirs.matrix, atol=1 / 40 + 1e-9, equal_nan=True)


def test_their_forgetting_is_the_diagonal_form():
    from avalanche.evaluation.metrics import forgetting_metrics
    from avalanche.training.plugins import EvaluationPlugin

    asked = {"scenario": {**STREAM, "setting": "domain"}, "strategy": {"name": "avalanche:Naive"}, "train": TRAIN}
    plan = make_plan(asked, Progress())
    strategy = plan.strategy
    theirs = strategy.theirs
    evaluator = EvaluationPlugin(forgetting_metrics(experience=True, stream=True), loggers=[], strict_checks=False)
    theirs.plugins[theirs.plugins.index(theirs.evaluator)] = evaluator
    theirs.evaluator = evaluator
    from scenarios.bridges.avalanche import to_benchmark

    test_stream = to_benchmark(plan.scenario).test_stream
    matrix = []
    for experience in plan.scenario.experiences:
        (phase,) = strategy.phases(experience)
        phase.begin()
        found = theirs.eval(test_stream)
        with torch.no_grad():
            row = []
            for each in plan.scenario.experiences:
                batch = each.test.batch(slice(None))
                row.append(float((strategy.logits(batch.x).argmax(1) == batch.y).double().mean()))
        matrix.append(row)
    reported = next(value for name, value in found.items() if name.startswith("StreamForgetting"))
    assert reported == pytest.approx(continual.average_forgetting_diagonal(matrix), abs=1e-6)
    assert continual.average_forgetting(matrix) >= reported - 1e-9


def weights(result):
    return torch.cat([parameter.detach().flatten() for parameter in result.strategy.network.parameters()])


def agree(ours, theirs):
    assert torch.allclose(weights(ours), weights(theirs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("setting", ["task", "domain", "class"])
def test_their_lwf_is_ours_at_a_strength_smaller_by_the_temperature_squared(setting):
    ours = simulate({"name": "lwf", "strength": 0.5, "temperature": 2.0}, setting, learning_rate=0.2)
    theirs = simulate({"name": "avalanche:LwF", "options.alpha": 2.0, "options.temperature": 2.0}, setting, learning_rate=0.2)
    agree(ours, theirs)
    assert (weights(ours) - weights(simulate("naive", setting, learning_rate=0.2))).abs().max() > 1e-3


def test_their_ewc_is_ours_of_twice_the_strength_where_the_order_of_the_measuring_pass_does_not_matter():
    train = {"batch_size": 1000, "epochs": 10, "learning_rate": 0.2}
    ours = simulate({"name": "ewc", "strength": 400.0, "scale": "published", "fisher": "batch"}, "domain", **train)
    theirs = simulate({"name": "avalanche:EWC", "options.ewc_lambda": 200.0}, "domain", **train)
    agree(ours, theirs)
    assert (weights(ours) - weights(simulate("naive", "domain", **train))).abs().max() > 1e-3


def test_a_fisher_of_batches_depends_on_their_order_as_our_documentation_says():
    # One weight, two examples of gradients +1 and -1: in one batch they cancel, in two they do not.
    gradients = torch.tensor([1.0, -1.0])
    assert gradients.mean() ** 2 == 0 and (gradients**2).mean() == 1


def test_their_si_measures_nothing_on_a_cpu_as_our_documentation_says():
    # Loss w^2 from w = 1 at rate 1/4: w = 1/2, then 1/4. The path integral is -(2 * -1/2 + 1 * -1/4) = 5/4.
    weight = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(weight.weight, 1.0)
    optimizer = torch.optim.SGD(weight.parameters(), lr=0.25)
    plugin = library("avalanche.training.plugins").SynapticIntelligencePlugin(si_lambda=1.0, eps=0.1)
    seen = SimpleNamespace(model=weight, device="cpu", clock=SimpleNamespace(train_exp_counter=0), loss=None)
    plugin.before_training_exp(seen)
    for expected in (0.5, 0.25):
        plugin.before_training_iteration(seen)
        optimizer.zero_grad()
        seen.loss = (weight.weight**2).sum()
        seen.loss.backward()
        optimizer.step()
        plugin.after_training_iteration(seen)
        assert float(weight.weight) == expected
    assert plugin.syn_data["trajectory"]["weight"].data.tolist() == [0.0]
    assert plugin.syn_data["old_theta"]["weight"].data.data_ptr() == weight.weight.data_ptr()
    theirs = simulate({"name": "avalanche:SynapticIntelligence", "options.si_lambda": 1000.0}, "task")
    assert torch.equal(weights(theirs), weights(simulate("avalanche:Naive", "task")))


def test_their_icarl_cannot_tell_classes_from_their_mirror_images_as_our_documentation_says():
    left, right = torch.zeros(2, 1, 1, 2), torch.zeros(2, 1, 1, 2)
    left[..., 0], right[..., 1] = 1.0, 1.0
    plugin = library("avalanche.training.supervised.icarl")._ICaRLPlugin(4, None, True)
    plugin.x_memory, plugin.y_memory, plugin.embedding_size = [left, right], [[0, 0], [1, 1]], 2
    means = {}
    model = SimpleNamespace(feature_extractor=torch.nn.Flatten(), eval_classifier=SimpleNamespace(replace_class_means_dict=means.update))
    benchmark = SimpleNamespace(n_classes_per_exp=[2])
    plugin.compute_class_means(SimpleNamespace(device="cpu", model=model, experience=SimpleNamespace(benchmark=benchmark)))
    assert torch.allclose(means[0], torch.full((2,), 0.5**0.5)) and torch.equal(means[0], means[1])


def test_a_plug_in_hangs_on_naive_as_in_their_strategy_of_its_name():
    hung = simulate({"name": "avalanche:Naive", "plugins.ReplayPlugin.mem_size": 20}, "task")
    own = simulate({"name": "avalanche:Replay", "options.mem_size": 20}, "task")
    assert torch.equal(weights(hung), weights(own))
    assert not torch.equal(weights(hung), weights(simulate("avalanche:Naive", "task")))
    both = simulate({"name": "avalanche:Naive", "plugins.ReplayPlugin.mem_size": 20, "plugins.LwFPlugin": True}, "task")
    assert not torch.equal(weights(hung), weights(both))


LEARNERS = [
    ("AGEM", {"patterns_per_exp": 10, "sample_size": 8}),
    ("DER", {"mem_size": 20}),
    ("MIR", {"mem_size": 20, "subsample": 8}),
    ("Cumulative", {}),
    ("GDumb", {"mem_size": 20}),
    ("ICaRL", {"memory_size": 20, "fixed_memory": True}),
    ("MAS", {}),
    ("ER_ACE", {"mem_size": 20}),
]


@pytest.mark.parametrize(("name", "options"), LEARNERS)
def test_their_strategies_run_and_act(name, options):
    setting = "class" if name == "ICaRL" else "task"
    asked = {"name": f"avalanche:{name}", **{f"options.{key}": value for key, value in options.items()}}
    result, naive = simulate(asked, setting), simulate("avalanche:Naive", setting)
    assert result.matrix.shape == (5, 5)
    assert not torch.equal(weights(result), weights(naive))
    batch = result.scenario.experiences[0].test.batch(slice(0, 3))
    assert result.strategy.logits(batch.x).shape == (3, 10)


@pytest.mark.parametrize(
    ("strategy", "train", "message"),
    [
        ("avalanche:Naiv", {}, "did you mean Naive"),
        ({"name": "avalanche:Replay", "options.mem_siz": 3}, {}, "takes no 'mem_siz'; did you mean mem_size"),
        ("avalanche:EWC", {}, "strategy.options.NAME=VALUE"),
        ("avalanche:Naive", {"iterations": 3}, "set train.epochs"),
        ({"name": "avalanche:Naive", "plugins.RepayPlugin.mem_size": 3}, {}, "did you mean ReplayPlugin"),
        ({"name": "avalanche:Naive", "plugins.ReplayPlugin": 3}, {}, "strategy.plugins.ReplayPlugin=true"),
        ({"name": "avalanche:Naive", "plugins.ReplayPlugin.size": 3}, {}, "ReplayPlugin of Avalanche takes no 'size'"),
        ({"name": "avalanche:JointTraining"}, {}, "cannot learn experience 1 here"),
    ],
)
def test_what_cannot_be_made_is_one_line(strategy, train, message):
    with pytest.raises(UserError, match=message):
        runs.simulate(scenario=STREAM, strategy=strategy, train={**TRAIN, **train})


@pytest.mark.parametrize("strategy", ["avalanche:Naive", "naive+avalanche:LwFPlugin"])
def test_what_would_do_nothing_or_count_half_is_refused(strategy):
    request = {"scenario": STREAM, "strategy": strategy, "train": TRAIN}
    with pytest.raises(UserError, match="--attack would do nothing"):
        runs.simulate(**request, attack="task-poison")
    with pytest.raises(UserError, match="--defence would do nothing"):
        runs.simulate(**request, defence="quantise")
    with pytest.raises(UserError, match="state_bytes is not had of"):
        runs.simulate(**request, evaluate={"metrics": ["state_bytes"]})


@pytest.fixture(scope="module")
def own_benchmark():
    """A benchmark object as a user of Avalanche has one: images that are no data set of ours, cut into three experiences."""
    from avalanche.benchmarks import nc_benchmark

    def pairs(each, seed):
        labels = torch.arange(6).repeat_interleave(each)
        looks = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(9))
        noise = torch.randn(len(labels), 1, 8, 8, generator=torch.Generator().manual_seed(seed))
        made = torch.utils.data.TensorDataset((0.5 + 0.15 * looks[labels] + 0.1 * noise).clamp(0, 1), labels)
        made.targets = labels.tolist()
        return made

    benchmark = nc_benchmark(pairs(20, 0), pairs(10, 1), n_experiences=3, task_labels=False, shuffle=False, seed=0)

    @scenarios.register("own-benchmark", "a benchmark object of Avalanche")
    class Own:
        Config = StreamConfig

        @staticmethod
        def make(config, request):
            return from_benchmark(benchmark, config=config, request=request)

    yield "own-benchmark"
    del scenarios.registry.rows["own-benchmark"]


LWF = {"name": "avalanche:LwF", "options.alpha": 1.0, "options.temperature": 2.0}


@pytest.mark.parametrize("setting", ["task", "class"])
@pytest.mark.parametrize("strategy", ["avalanche:Naive", {"name": "avalanche:Replay", "options.mem_size": 20}, LWF])
def test_numbers_and_plots_of_their_strategies_on_a_benchmark_object_are_right(own_benchmark, strategy, setting, tmp_path):
    request = {"scenario": {"name": own_benchmark, "setting": setting}, "strategy": strategy, "train": TRAIN, "out": tmp_path / "run"}
    result = runs.simulate(**request)
    matrix, last = result.matrix, len(result.matrix) - 1
    assert last == 2
    for experience in result.scenario.experiences:
        batch, hits = experience.test.batch(slice(None)), 0
        logits = result.strategy.logits(batch.x)
        for row, y in zip(logits, batch.y.tolist()):
            choice = [*experience.outputs] if setting == "task" else [*range(6)]
            hits += max(choice, key=lambda output: float(row[output])) == y
        assert float(matrix[last, experience.index]) == pytest.approx(hits / len(batch.y))
    forgotten = [max(float(matrix[i, j]) for i in range(j, last)) - float(matrix[last, j]) for j in range(last)]
    assert result.summary["average_forgetting"] == pytest.approx(sum(forgotten) / last)
    assert result.summary["average_accuracy"] == pytest.approx(sum(map(float, matrix[last])) / 3)
    assert result.summary["parameters"] == sum(parameter.numel() for parameter in result.strategy.network.parameters())
    assert result.summary["peak_memory_bytes"] > 2**20
    assert {"forgetting_curves", "accuracy_matrix"} <= {path.stem for path in plots.draw(tmp_path / "run")}


def test_a_stopped_run_is_not_gone_on_with_in_silence(tmp_path):
    plan = make_plan({"scenario": STREAM, "strategy": {"name": "avalanche:Naive"}, "train": TRAIN}, Progress())
    with pytest.raises(UserError, match="begin the run again"):
        plan.strategy.phases(plan.scenario.experiences[2])
