"""Disposals: the phases before disposal are naive's, gamma 0 is keep-only, each acts, and nothing moves but what should."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from runs.plan import make_plan
from runs.showing.progress import Progress
from runs.simulation import carry_out
from scenarios.errors import UserError
from strategies.disposal.batches import Pairs
from strategies.disposal.guard import TargetGuard
from strategies.phase import TrainConfig
from strategies.soft_targets import distillation
from tests.runs.test_resume import interrupted, same_bits
from tests.strategies.driver import equal, make_setup, prepared, run_experience, run_stream, tiny_scenario

OUTPUTS = ["negative-gradient", "random-labels", "uniform-labels", "bad-teacher"]
METHODS = [*OUTPUTS, "scrub", "sophon", "weight-distance", "connectivity", "gc"]
FEW = {"steps": 6, "source_batch": 16, "reprobe": 4}


def transfer(dtype=torch.float32):
    stream = tiny_scenario(experiences=2, classes=3, dtype=dtype)
    source, target = (replace(experience, role=role) for experience, role in zip(stream.experiences, ("source", "target")))
    dispose = replace(target, index=2, role="dispose", test=target.test.select(torch.zeros(0, dtype=torch.int64)))
    return replace(stream, experiences=(source, target, dispose))


def setup(network="mlp", options=None, dtype=torch.float32):
    return make_setup(transfer(dtype), network, TrainConfig(epochs=2, batch_size=16), options=options or {"hidden": (12, 8)})


def transferred(name, made=None, **options):
    strategy = prepared(name, made or setup(), **{**FEW, **options})
    kept: dict = {}
    for experience in strategy.setup.scenario.experiences[:2]:
        kept = run_experience(strategy, experience, kept)
    return strategy, kept


@pytest.mark.parametrize("name", ["none", "keep-only", "gc", "noise-distil"])
def test_until_disposal_it_is_naive_bit_for_bit(name):
    plain = prepared("naive", setup())
    run_stream(plain, plain.setup.scenario.experiences[:2])
    strategy, _ = transferred(name)
    assert equal(strategy.network.state_dict(), plain.network.state_dict())
    assert equal(strategy.transferred.state_dict(), plain.network.state_dict())


@pytest.mark.parametrize("name", [*METHODS, "gc-noise-distil"])
def test_with_gamma_0_it_is_keep_only_bit_for_bit_and_with_1_it_is_not(name):
    ends = {}
    for gamma in (0.0, 1.0):
        strategy = run_stream(prepared(name, setup(), gamma=gamma, **FEW, **({"noise": 0.0} if "noise" in name else {})))
        ends[gamma] = strategy.network.backbone.state_dict()
    kept = run_stream(prepared("keep-only", setup(), **FEW)).network.backbone.state_dict()
    assert equal(ends[0.0], kept) and not equal(ends[1.0], kept)


@pytest.mark.parametrize("name", ["none", "keep-only", "target-only", "head-deletion", *METHODS])
def test_the_teacher_and_batch_norms_of_evaluation_are_left_alone(name):
    strategy, kept = transferred(name, setup("mlp", {"hidden": (8,), "norm": "batch"}))
    before = None if strategy.transferred is None else {key: value.clone() for key, value in strategy.transferred.state_dict().items()}
    run_experience(strategy, strategy.setup.scenario.experiences[2], kept)
    if before is not None:
        assert equal(strategy.transferred.state_dict(), before)
    if name in ("none", "head-deletion"):
        assert equal(strategy.network.backbone.state_dict(), strategy.transferred.backbone.state_dict())


@pytest.mark.parametrize("name", ["negative-gradient", "sophon", "connectivity", "gc"])
def test_the_source_leaves_no_statistics_in_batch_norms(name):
    ends = {}
    for method in (name, "keep-only"):
        # With a rate of 0 nothing moves but statistics.
        made = run_stream(prepared(method, setup("mlp", {"hidden": (8,), "norm": "batch"}), learning_rate=0.0, **FEW))
        ends[method] = {key: value for key, value in made.network.state_dict().items() if "running" in key}
    assert equal(ends[name], ends["keep-only"])


def test_target_only_never_sees_the_source_and_has_no_teacher():
    strategy = run_stream(prepared("target-only", setup(), **FEW))
    floor = prepared("naive", setup())
    run_experience(floor, floor.setup.scenario.experiences[1])
    assert strategy.transferred is None and equal(strategy.network.state_dict(), floor.network.state_dict())


@pytest.mark.parametrize("head", ["random", "reprobed", "kept-trainable", "kept-frozen"])
@pytest.mark.parametrize("second_order", ["two-pass", "direct", "finite-difference"])
def test_the_collision_moves_the_trunk_and_a_trained_source_head_and_never_the_targets_head(head, second_order):
    strategy, _ = transferred("gc", head=head, second_order=second_order)
    batch = strategy.source.train.batch(slice(0, 16))
    strategy.network.zero_grad(set_to_none=True)
    strategy.config = replace(strategy.config, clip=None)
    value = strategy.term(batch)
    assert not value.requires_grad
    strategy.after_backward()
    moved = {name for name, parameter in strategy.network.named_parameters() if parameter.grad is not None and parameter.grad.any()}
    assert all(name.startswith("backbone") for name in moved) == (head in ("random", "kept-frozen"))
    assert any(name.startswith("backbone") for name in moved) and not any(name.startswith("head.blocks.1") for name in moved)


def test_both_second_orders_dispose_alike_in_float64():
    ends = []
    for second_order in ("two-pass", "direct"):
        made = run_stream(prepared("gc", setup(dtype=torch.float64), second_order=second_order, **FEW))
        ends.append(torch.cat([parameter.flatten() for parameter in made.network.parameters()]))
    assert torch.allclose(*ends, rtol=0, atol=1e-10)


def test_differences_of_gradients_dispose_nearly_as_second_derivatives_do():
    # ReLU has kinks, between which both are the same.
    ends = []
    for second_order in ("two-pass", "finite-difference"):
        made = run_stream(prepared("gc", setup(dtype=torch.float64), second_order=second_order, **FEW))
        ends.append(torch.cat([parameter.detach().flatten() for parameter in made.network.parameters()]))
    kept = run_stream(prepared("keep-only", setup(dtype=torch.float64), **FEW))
    without = torch.cat([parameter.detach().flatten() for parameter in kept.network.parameters()])
    assert (ends[1] - ends[0]).norm() < 0.05 * (ends[0] - without).norm()


def test_the_weight_of_distillation_counts_and_at_0_cross_entropy_alone_is_left():
    ends = {}
    for name, options in {"0": {"kd_weight": 0.0}, "1": {}, "5": {"kd_weight": 5.0}, "ce": {"keep": "ce"}}.items():
        ends[name] = run_stream(prepared("negative-gradient", setup(), **options, **FEW)).network.state_dict()
    assert equal(ends["0"], ends["ce"]) and not equal(ends["1"], ends["5"]) and not equal(ends["1"], ends["0"])


def guarded(allowed, name="gc", **options):
    stream = transfer()
    source, *others = stream.experiences
    stream = replace(stream, experiences=(source, *(replace(each, validation=others[0].test) for each in others)))
    made = make_setup(stream, "mlp", TrainConfig(epochs=2, batch_size=16), options={"hidden": (12, 8)})
    return run_stream(prepared(name, made, target_guard=allowed, **{**FEW, "steps": 24, **options}))


@pytest.mark.parametrize("name", ["gc", "scrub", "uniform-labels"])
def test_a_guard_that_never_holds_changes_nothing_and_one_that_always_holds_is_keep_only(name, monkeypatch):
    plain, wide = guarded(None, name), guarded(1.0, name)
    assert equal(plain.network.state_dict(), wide.network.state_dict()) and wide.report()["disposal"]["waited_steps"] == 0
    assert "waited_steps" not in plain.report()["disposal"]
    # The transferred network is always believed to know all of the target, and the present one nothing.
    monkeypatch.setattr(TargetGuard, "_knows", lambda self, network: float(not any(each.requires_grad for each in network.parameters())))
    held, kept = guarded(0.01, name), guarded(None, "keep-only")
    assert equal(held.network.backbone.state_dict(), kept.network.backbone.state_dict())
    assert held.report()["disposal"]["waited_steps"] == 24


def test_the_guard_looks_every_ten_steps_and_lets_the_term_go_on_when_the_target_is_back(monkeypatch):
    looks = iter([1.0, 0.98, 1.0, 0.995, 1.0, 0.9])
    monkeypatch.setattr(TargetGuard, "_knows", lambda self, network: next(looks))
    made = guarded(0.01)
    assert made.report()["disposal"]["waited_steps"] == 10 + 4 and next(looks, None) is None


def test_the_guard_keeps_a_target_that_the_term_alone_would_spoil():
    ends = {}
    for allowed in (None, 0.02):
        made = guarded(allowed, "uniform-labels", gamma=1000.0, steps=120, learning_rate=0.1, keep="ce", clip=None)
        batch = made.target.test.batch(slice(None))
        made.network.eval()
        answers = made.network.head.narrow(made.network.features(batch.x), made.target.outputs).argmax(1)
        ends[allowed] = float((answers == batch.y - made.target.outputs.start).double().mean())
    assert ends[0.02] > ends[None] + 0.1, ends


def test_a_guard_without_validation_examples_is_one_line():
    with pytest.raises(UserError, match="set scenario.validation_share"):
        prepared("gc", setup(), target_guard=0.01, **FEW)


def gradient_of_term(name, **options):
    """The term's gradient by the trunk and by the source's head at weights that have moved a little."""
    strategy, _ = transferred(name, **options)
    strategy.begin()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in strategy.network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    strategy.network.zero_grad(set_to_none=True)
    return strategy, strategy.source.train.batch(slice(0, 16))


@pytest.mark.parametrize("name", ["negative-gradient", "connectivity", "weight-distance", "scrub"])
def test_lowering_the_term_leads_away_from_the_source_or_from_the_transferred_weights(name):
    strategy, batch = gradient_of_term(name)

    def known():
        pairs = zip(strategy.trunk, strategy.transferred.backbone.parameters())
        if name == "weight-distance":
            return -float(sum((one - two).square().sum() for one, two in pairs))
        if name == "scrub":
            wanted = strategy.old_head(strategy.transferred.features(batch.x))
            return -float(distillation(strategy.source_logits(batch.x), wanted, 1.0))
        return -float(torch.nn.functional.cross_entropy(strategy.source_logits(batch.x).detach(), batch.y - strategy.source.outputs.start))

    before = known()
    strategy.term(batch).backward()
    with torch.no_grad():
        for parameter in strategy.trunk:
            parameter.sub_(1e-2 * parameter.grad)
    assert known() < before
    if name == "connectivity":
        assert all(parameter.grad is None for parameter in strategy.source_head.parameters())


def test_every_step_of_disposal_sees_a_whole_batch_of_the_source_without_repetition():
    strategy, _ = transferred("gc")
    pairs = Pairs(strategy.target.train, strategy.source.train, 16, 20)
    seen = [pair.source for pair in pairs.epoch(lambda purpose: torch.Generator().manual_seed(len(purpose)))]
    assert len(seen) == len(pairs) and all(len(batch.y) == 20 for batch in seen)
    assert all(len(batch.x.flatten(1).unique(dim=0)) == 20 for batch in seen)


def test_clipping_bounds_the_gradient_of_both_parts():
    strategy, _ = transferred("gc", gamma=1000.0, clip=0.5)
    strategy.begin()
    pair = next(iter(Pairs(strategy.target.train, strategy.source.train, 16, 16).epoch(lambda purpose: torch.Generator().manual_seed(0))))
    strategy.network.zero_grad(set_to_none=True)
    strategy.dispose_loss(pair).loss.backward()
    strategy.after_backward()
    found = [parameter.grad for parameter in strategy.network.parameters() if parameter.grad is not None]
    assert float(torch.cat([each.flatten() for each in found]).norm()) == pytest.approx(0.5, rel=1e-4)


def test_what_is_drawn_at_random_is_drawn_anew_in_every_step():
    for name in ("gc", "random-labels", "sophon"):
        strategy, _ = transferred(name)
        values = []
        for strategy.step in (0, 1, 0):
            values.append(float(strategy.term(strategy.source.train.batch(slice(0, 16)))))
        assert values[0] == values[2] != values[1], name


def test_retained_answers_are_the_transferred_networks():
    strategy, batch = gradient_of_term("keep-only", keep="kd")
    target = strategy.target.train.batch(slice(0, 16))
    logits = strategy.network.head.narrow(strategy.network.features(target.x), strategy.target.outputs)
    wanted = strategy.taught(target.x, strategy.target.outputs).softmax(1)
    expected = (wanted * (wanted.log() - logits.log_softmax(1))).sum(1).mean()
    assert float(strategy.keep_loss(target).loss) == pytest.approx(float(expected), rel=1e-5)


def test_a_thief_that_is_simulated_is_judged_on_examples_that_he_did_not_see():
    strategy, batch = gradient_of_term("sophon", inner_steps=1, inner_rate=0.0)
    value = float(strategy.term(batch))
    held = batch._replace(x=torch.cat([torch.zeros_like(batch.x[:8]), batch.x[8:]]))
    assert float(strategy.term(held)) == pytest.approx(value), "at rate 0 what he learns from does not count"
    strategy.config = replace(strategy.config, inner_rate=0.5)
    first = int(batch.y.min())
    relabelled = batch._replace(y=torch.cat([batch.y[:8], (batch.y[8:] - first + 1) % 2 + first]))
    assert not torch.equal(relabelled.y, batch.y)
    assert float(strategy.term(relabelled)) == float(strategy.term(batch)), "nor do the labels of what he is judged by"


def test_scrub_leaves_the_teacher_in_the_first_part_alone():
    strategy, _ = transferred("scrub", steps=9)
    pair = next(iter(Pairs(strategy.target.train, strategy.source.train, 16, 16).epoch(lambda purpose: torch.Generator().manual_seed(0))))
    away = []
    for strategy.step in range(9):
        strategy.old_head.load_state_dict(strategy.source_head.state_dict())
        away.append(strategy.dispose_loss(pair).logits is None)
    assert away == [True, False, True, False, True, False, True, False, False]


@pytest.mark.parametrize(("noise", "kept"), [(0.0, 1.0), (0.25, 0.75)])
def test_so_much_of_the_trunk_is_renewed(noise, kept):
    strategy, _ = transferred("noise-distil", noise=noise)
    before = [parameter.detach().clone() for parameter in strategy.trunk]
    strategy.begin()
    fresh = [(now - kept * was) for now, was in zip(strategy.trunk, before)]
    initial = list(strategy.setup.build_network().backbone.parameters())
    for one, other in zip(fresh, initial):
        assert torch.allclose(one.detach().flatten().sort().values, noise * other.detach().flatten().sort().values, atol=1e-6)


def test_chunks_by_class_hold_fewer_classes():
    strategy, _ = transferred("gc", chunking="class", chunks=2)
    chunks = strategy._chunks(strategy.source.train.batch(torch.arange(0, 72, 4)[:16]))
    assert [len(x) for x, _ in chunks] == [8, 8] and max(len(set(y.tolist())) for _, y in chunks) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": "ce", "kd_weight": 2.0}, "strategy.kd_weight is read with strategy.keep=ce+kd alone"),
        ({"chunks": 3}, "strategy.source_batch=16 cannot be cut into strategy.chunks=3 equal chunks"),
        ({"source_batch": 1000}, "strategy.source_batch=1000 is more than the 72 examples of the source"),
        ({"parameters": "trunk+source-head"}, "needs a head that is trained, not strategy.head=random"),
    ],
)
def test_what_cannot_be_cut_is_one_line(options, message):
    with pytest.raises(UserError, match=re.escape(message)):
        prepared("gc", setup(), **{**FEW, **options})


def test_disposal_without_a_transfer_is_one_line():
    with pytest.raises(UserError, match="has nothing to dispose of"):
        prepared("gc", make_setup(tiny_scenario(), "mlp"))


def test_a_head_that_source_and_target_share_cannot_be_released():
    with pytest.raises(UserError, match="does not work in setting 'domain', only in class, task"):
        make_plan({**ASKED, "scenario": {**ASKED["scenario"], "setting": "domain"}}, Progress())


def test_the_inner_product_with_the_kept_head_relearns_the_source():
    # The degeneracy of the literal reading: on average it is a penalty of the source's gradient, and a solved source has none.
    asked = {
        "scenario": {"name": "transfer-split-digits"},
        "strategy": {"name": "gc", "form": "inner", "head": "kept-trainable", "steps": 150},
        "train": {"epochs": 10},
        "network": {"hidden": "64,64"},
        "probe": {"name": "none"},
    }
    strategy = carry_out(make_plan(asked, Progress()), None, resume=False, progress=Progress()).strategy
    losses = [loss for _, loss in strategy.source_losses]
    assert losses[-1] < 0.7 * losses[0]


ASKED = {
    "scenario": {"name": "transfer-split-digits", "source_examples": 200, "target_examples": 100},
    "strategy": {"name": "gc", "steps": 12, "source_batch": 32, "reprobe": 10},
    "train": {"epochs": 2},
    "network": {"hidden": "16"},
    "probe": {"name": "none"},
}


@pytest.mark.parametrize(
    ("name", "steps"), [("gc", 3), ("gc", 12), ("gc", 14), ("gc", 25), ("scrub", 31), ("gc-noise-distil", 33), ("guarded", 25)]
)
def test_interrupted_in_any_phase_and_resumed_gives_the_same_bits(name, steps, tmp_path):
    asked = {**ASKED, "strategy": {**ASKED["strategy"], "name": name}}
    if name == "guarded":
        # Interrupted between two of the guard's looks.
        asked["strategy"] |= {"name": "negative-gradient", "gamma": 50.0, "target_guard": 0.0}
        asked["scenario"] = {**ASKED["scenario"], "validation_share": 0.2}
    carry_out(make_plan(asked, Progress()), tmp_path / "whole", resume=False, progress=Progress())
    interrupted(asked, tmp_path / "run", steps)
    carry_out(make_plan(asked, Progress()), tmp_path / "run", resume=True, progress=Progress())
    same_bits(tmp_path / "whole", tmp_path / "run")
