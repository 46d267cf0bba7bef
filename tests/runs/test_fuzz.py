"""Whatever is typed, written into a configuration, or done to a run's files: exit code 0, 2, 3 or 130, one line of error, no traceback.

A seeded sample of each; `make fuzz` draws a thousand new ones.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runs import plots, simulation
from runs.engine import InterruptedRunError
from runs.recording.store import Store
from tests.runs.command import TINY, call

EXAMPLES = int(os.environ.get("FUZZ", "0"))
sample = settings(
    max_examples=EXAMPLES or 25,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

NAMES = "split-digits permuted-digits split-mnist digits glyphs naive ewc joint replay protonet mlp conv4 none task class domain".split()
WORDS = st.sampled_from([*NAMES, *"generated embedded cpu cuda cuda:7 true null inf nan curvature".split()])
PLACES = st.sampled_from("run file nowhere folder . .. /dev/null loop npz:file folder:folder /proc/self/mem".split() + ["a" * 300])
ODD = st.sampled_from([10**30, -(10**30), 1e308, "0x10", "1e3", "１２"])
NUMBERS = st.one_of(st.integers(-2, 12), st.floats(width=16), ODD).map(str)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=[]), max_size=20)
VALUES = st.one_of(WORDS, PLACES, NUMBERS, TEXT)
OPTIONS = st.sampled_from(
    """scenario.tasks scenario.class_order scenario.validation_share scenario.blurry scenario.normalise scenario.seed train.learning_rate
    train.optimizer train.momentum train.schedule train.precision train.weight_decay evaluate.stream evaluate.validate_every
    strategy.strength network.norm network.dropout network.freeze network.name strategy.name seed data imports device train train. .x
    name""".split()
)
SETTINGS = st.builds("{}={}".format, OPTIONS, VALUES) | TEXT
FLAGS = st.sampled_from(
    """--setting --data --data-root --network --seed --seeds --device --config --import --test-scenario --diagnose --attack
    --defence""".split()
)
FLAG = st.one_of(
    st.tuples(FLAGS, VALUES),
    st.tuples(st.just("--set"), SETTINGS),
    st.tuples(st.sampled_from("--resume --quiet --help -h -- - --set".split())),
    st.tuples(VALUES),
)
RUNS = st.lists(FLAG, max_size=4).map(lambda flags: [*TINY, "--out", "new", *(text for flag in flags for text in flag)])
ARGUMENTS = st.lists(VALUES | st.sampled_from("--out --mixed --scale --import --test-scenario strategies data".split()), max_size=3)
COMMANDS = st.sampled_from("list plot compare resume evaluate recipe sweep report".split())
OTHERS = st.tuples(COMMANDS, ARGUMENTS).map(lambda parts: [parts[0], *parts[1]])
ANY = st.lists(VALUES | FLAGS, max_size=4)

WHOLE = st.integers(-(10**25), 10**25) | st.integers(0, 5)
SCALARS = st.one_of(st.none(), st.booleans(), WHOLE, st.floats(), st.dates(), TEXT, WORDS, st.binary(max_size=5))
TREES = st.recursive(SCALARS, lambda part: st.lists(part, max_size=3) | st.dictionaries(SCALARS, part, max_size=3), max_leaves=8)
SECTIONS = st.sampled_from("scenario strategy network train evaluate seed device data data_root imports test_scenario attack".split())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert call(*TINY, "--quiet", "--out", folder) == (0, "", "")
    return folder


@pytest.fixture(scope="module", autouse=True)
def surroundings(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder with a run, a file and odd things in it, and no network."""

    def no_network(*rest: Any, **more: Any) -> None:
        raise urllib.error.URLError("no network")

    place = tmp_path_factory.mktemp("place")
    shutil.copytree(finished, place / "run")
    (place / "file").write_text("x")
    (place / "folder").mkdir()
    (place / "loop").symlink_to("loop")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("PALIMPSEST_DATA", str(place / "no data"))
        patch.setattr(urllib.request, "urlopen", no_network)
        yield


def no_training(plan: Any, out: Path | None, *, resume: bool, **rest: Any) -> None:
    """Instead of a run: its directory, and an interruption where training would begin."""
    assert out is not None
    Store(out, plan.resolved, resume=resume).close()
    raise InterruptedRunError


def in_one_line(command: list[str], *, train: bool = False) -> None:
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        # What is drawn is drawn, but not written: it takes longer than everything else.
        patch.setattr(plots.style, "save", lambda figure, path: path)
        if not train:
            patch.setattr(simulation, "carry_out", no_training)
        code, _, error = call(*command)
    assert code in (0, 2, 3, 130), (code, error)
    assert error.count("\n") <= 1 and len(error) < 3000, error
    assert code == 0 or error, "stopped without a word"


@sample
@given(RUNS | OTHERS | ANY)
def test_command_lines(arguments: list[str]) -> None:
    shutil.rmtree("new", ignore_errors=True)
    # As the interpreter gives them: what is no text is escaped.
    in_one_line([argument.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape") for argument in arguments])


@sample
@given(st.dictionaries(SECTIONS, TREES, max_size=2), st.lists(st.tuples(OPTIONS, TREES), max_size=2))
def test_configurations(sections: dict[str, Any], options: list[tuple[str, Any]]) -> None:
    content: dict[Any, Any] = {"scenario": {"name": "split-digits"}, "strategy": "naive", "train": {"epochs": 1}, **sections}
    for path, value in options:
        section, _, name = path.partition(".")
        if name and isinstance(content.get(section), dict):
            content[section][name] = value
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "asked.yaml"
        file.write_text(yaml.dump(content, allow_unicode=True), encoding="utf-8", errors="surrogatepass")
        shutil.rmtree("new", ignore_errors=True)
        in_one_line(["--config", str(file), "--out", "new"])


@sample
@given(st.text("{}[]:,&*!|>-?#%@'\"\n\t ax01~<=.\ufeff", max_size=40) | st.binary(max_size=40))
def test_files_that_are_no_configuration(content: str | bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "asked.yaml"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        shutil.rmtree("new", ignore_errors=True)
        in_one_line(["--config", str(file), "--out", "new"])


FILES = st.sampled_from("config.yaml summary.json metrics.jsonl environment.json accuracy_matrix.csv checkpoint.pt .lock".split())
DAMAGE = st.sampled_from("gone cut byte text folder".split())
ON_A_RUN = st.sampled_from(
    [["resume", "new"], ["evaluate", "new"], ["plot", "new"], ["compare", "new"], [*TINY, "--out", "new", "--resume"]]
)


def damaged(content: bytes, how: str, at: int, text: bytes) -> bytes:
    middle = {"cut": b"", "byte": b"\x07" + content[at + 1 :], "text": text + content[at:]}
    return content[:at] + middle[how]


@sample
@given(FILES, DAMAGE, st.floats(0, 1), TREES, ON_A_RUN, st.booleans())
def test_files_of_a_run_that_were_changed(file: str, how: str, where: float, value: Any, command: list[str], over: bool) -> None:
    shutil.rmtree("new", ignore_errors=True)
    shutil.copytree("run", "new")
    if not over:
        Path("new/summary.json").unlink()
        shutil.rmtree("new/plots")
    path = Path("new", file)
    content = path.read_bytes() if path.exists() else b""
    path.unlink(missing_ok=True)
    if how == "folder":
        path.mkdir()
    elif how != "gone":
        text = yaml.dump(value, allow_unicode=True).encode("utf-8", "surrogatepass")
        path.write_bytes(damaged(content, how, int(where * len(content)), text))
    in_one_line(command, train=True)


ENTRIES = st.sampled_from([None, -1, "x", [], {}, [[]], {"a": 1}, [None], 1e300, True])


@sample
@given(st.randoms(use_true_random=False), ENTRIES, st.booleans())
def test_summaries_that_were_changed(choice: Any, value: Any, gone: bool) -> None:
    content = json.loads(Path("run/summary.json").read_text())
    at, name = content, choice.choice(list(content))
    if isinstance(content[name], dict) and choice.random() < 0.5:
        at, name = content[name], choice.choice(list(content[name]))
    at[name] = value
    if gone:
        del at[name]
    shutil.rmtree("new", ignore_errors=True)
    shutil.copytree("run", "new", ignore=shutil.ignore_patterns("plots"))
    Path("new/summary.json").write_text(json.dumps(content))
    for command in (["plot", "new"], ["compare", "new", "run", "--mixed", "--out", "new/table"]):
        in_one_line(command)
