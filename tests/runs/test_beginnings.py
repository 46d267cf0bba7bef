"""A network begins with another run's backbone: what is taken, what is not, what is said of it, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from runs import config, simulate
from runs.recording.twins import digest
from scenarios.errors import UserError
from tests.runs.command import TINY, call

EPISODES = {"name": "digits", "ways": 2, "queries": 2, "test_queries": 2, "test_episodes": 2}
NETWORK = {"name": "mlp", "hidden": (8, 6), "norm": "batch"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("beginnings") / "first"
    strategy = {"name": "baseline", "test_steps": 2}
    simulate(scenario=EPISODES, strategy=strategy, network=NETWORK, train={"iterations": 3}, seed=4, out=place)
    return place


def backbone(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name.startswith("backbone.")}


def test_pre_training_then_meta_training(run: Path) -> None:
    theirs = torch.load(run / "checkpoint.pt", weights_only=True)["strategy"]["network"]
    result = simulate(
        scenario=EPISODES, strategy={"name": "maml", "meta_batch": 1}, network=NETWORK, train={"from": str(run), "iterations": 1}
    )
    begun, new = result.strategy.setup.build_network(), simulate_network()
    assert backbone(theirs) and all(torch.equal(value, begun.state_dict()[name]) for name, value in backbone(theirs).items())
    assert torch.equal(begun.head.blocks[0].weight, new.head.blocks[0].weight), "heads are new"
    told = result.summary["started_from"]
    assert told["taken"] == list(backbone(theirs)) and told["not_taken"] == {"head": "heads are always new"}
    assert (told["strategy"], told["seed"], told["directory"]) == ("baseline", 4, str(run))
    assert told["digest"] == digest(config.from_file(run / "config.yaml")) and len(told["weights_sha256"]) == 64


def simulate_network() -> Any:
    result = simulate(scenario=EPISODES, strategy={"name": "protonet", "meta_batch": 1}, network=NETWORK, train={"iterations": 1})
    assert "started_from" not in result.summary
    return result.strategy.setup.build_network()


def test_a_stream_takes_what_fits_and_says_what_does_not(run: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    from runs.showing.progress import Progress

    class Listening(Progress):
        def say(self, line: str) -> None:
            lines.append(line)

    request: dict[str, Any] = {
        "scenario": {"name": "split-digits", "train_examples": 6},
        "strategy": "naive",
        "network": {**NETWORK, "hidden": (8, 5)},
        "train": {"epochs": 1, "from": str(run)},
    }
    result = simulate(**request, out=tmp_path / "whole", progress=Listening())
    told = result.summary["started_from"]
    assert "backbone.1.layer.weight" in told["taken"] and told["not_taken"]["backbone.3.layer.weight"] == "[6, 8] there, [5, 8] here"
    assert any(line.startswith("train.from: ") and "not taken: backbone.3" in line for line in lines)
    again = config.from_file(tmp_path / "whole" / "config.yaml")
    assert again["train"]["from"] == str(run)
    repeated = simulate(**{**request, "train": again["train"]})
    assert repeated.summary["accuracy_matrix"] == result.summary["accuracy_matrix"]


def test_without_it_nothing_changes_in_the_configuration(run: Path) -> None:
    assert "from" not in config.from_file(run / "config.yaml")["train"]


@pytest.mark.parametrize(
    ("place", "network", "message"),
    [
        ("nowhere", NETWORK, "there is no finished run; name the directory of one"),
        ("several", NETWORK, "name one of its runs, for instance seed-0"),
        ("unfinished", NETWORK, "there is no finished run"),
        ("broken", NETWORK, "there is no finished run"),
        ("torn", NETWORK, "is not a readable checkpoint"),
        ("first", {"name": "conv", "channels": (4,)}, "network is 'mlp', this one's 'conv'; choose --network mlp"),
        (
            "first",
            {"name": "mlp", "hidden": (9,)},
            "nothing of that run's backbone fits this network (backbone.1.layer.weight: [8, 64] there",
        ),
    ],
)
def test_what_cannot_be_begun_with_is_told_in_one_line(
    run: Path, tmp_path: Path, place: str, network: dict[str, Any], message: str
) -> None:
    (tmp_path / "several" / "seed-0").mkdir(parents=True)
    for name, missing in {"unfinished": "summary.json", "torn": "", "broken": ""}.items():
        (tmp_path / name).mkdir()
        for file in ("config.yaml", "summary.json", "checkpoint.pt"):
            if file != missing:
                (tmp_path / name / file).write_bytes((run / file).read_bytes())
    (tmp_path / "torn" / "checkpoint.pt").write_bytes(b"torn")
    (tmp_path / "broken" / "summary.json").write_text("[]")
    where = run if place == "first" else tmp_path / place
    with pytest.raises(UserError) as refused:
        simulate(scenario=EPISODES, strategy="protonet", network=network, train={"from": str(where), "iterations": 1})
    assert message in str(refused.value) and "\n" not in str(refused.value) and len(str(refused.value)) <= 300


def test_the_command_line_finds_a_relative_place_and_ends_with_2_where_there_is_none(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.parent)
    options = ["--set", "network.hidden=8,6", "--set", "network.norm=batch", "--quiet"]
    assert call(*TINY, *options, "--set", "train.from=first", "--out", tmp_path / "second")[0] == 0
    assert config.from_file(tmp_path / "second" / "config.yaml")["train"]["from"] == str(run)
    code, _, error = call(*TINY, *options, "--set", "train.from=other", "--out", tmp_path / "third")
    assert code == 2 and error.count("\n") == 1 and "Traceback" not in error
