"""The command line: what it offers is frozen; a mistake is one line, exit code 2, and nothing written."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from runs import cli
from tests.runs.command import call

QUICK = ["--scenario", "split-digits", "--strategy", "naive", "--set", "train.epochs=1", "--set", "network.hidden=16"]

OPTIONS = {
    "": "--attack --config --data --data-root --defence --device --diagnose --dry-run --help --import --jobs --log --network --out --probe "
    "--quiet --resume --scenario --seed --seeds --set --setting --strategy --test-scenario -h",
    "sweep": "--address --dry-run --executor --help --jobs --out --per-device --quiet --threads",
    "list": "--family --help --import",
    "plot": "--columns --format --help --style",
    "compare": "--columns --format --help --mixed --out --style",
    "resume": "--help --quiet",
    "evaluate": "--help --metrics --probe --test-scenario",
    "report": "--format --help --out --records -o",
    "recipe": "--data-root --help --out --repeat --results --rows --scale --show",
}


def simulate(*arguments: str, folder: Path | None = None) -> tuple[int, str, str]:
    code = "import runs.cli; runs.cli.main()"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=folder, env=environment())
    return done.returncode, done.stdout, done.stderr


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parent.parent), "COLUMNS": "200"}


def main(arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["simulate", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    out, error = capsys.readouterr()
    return int(stop.value.code or 0), out, error


def test_the_commands_and_their_options_are_these_and_no_others() -> None:
    import typer.main

    group = typer.main.get_command(cli.app)
    found = {"": group, **group.commands}
    assert sorted(found) == sorted(OPTIONS)
    for name, command in found.items():
        context = command.make_context(name, [], resilient_parsing=True)
        options = [flag for parameter in command.get_params(context) if parameter.param_type_name == "option" for flag in parameter.opts]
        assert " ".join(sorted(set(options))) == OPTIONS[name], name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scenario", "split-cifra", "--strategy", "naive"], "unknown data set 'cifra'; did you mean"),
        (["--scenario", "splt-mnist", "--strategy", "naive"], "unknown scenario 'splt-mnist'; did you mean split-mnist"),
        (["--scenario", "split-digits", "--strategy", "nive"], "unknown strategy 'nive'; did you mean naive?"),
        (["--scenario", "split-digits", "--strategy", "rescl", "--setting", "class"], "does not work in setting 'class', only in task"),
        (["--scenario", "split-digits"], "no strategy was named"),
        ([*QUICK, "--set", "train.epoch=2"], "unknown option train.epoch; did you mean epochs"),
        ([*QUICK, "--set", "trian.epochs=2"], "unknown option trian.epochs; did you mean train"),
        ([*QUICK, "--set", "train.epochs"], "--set takes PATH=VALUE"),
        ([*QUICK, "--set", "train.epochs=-1"], "train.epochs must be at least 1, not -1"),
        ([*QUICK, "--set", "train.learning_rate=fast"], "train.learning_rate must be a number, not 'fast'"),
        ([*QUICK, "--set", "scenario.tasks=11"], "more than the 10 classes"),
        ([*QUICK, "--set", "scenario.class_order=1,1,2,3,4,5,6,7,8,9"], "scenario.class_order repeats class 1"),
        ([*QUICK, "--set", "network.hiden=3"], "unknown option network.hiden; did you mean hidden?"),
        ([*QUICK, "--network", "cnov"], "unknown network 'cnov'; did you mean conv"),
        ([*QUICK, "--seed", "-1"], "must be a whole number from 0, not '-1'"),
        ([*QUICK, "--seeds", "none"], "--seeds must be a whole number from 1, not 'none'"),
        ([*QUICK, "--device", "cuda"], "there is no CUDA device here; use --device cpu"),
        ([*QUICK, "--device", "tpu"], "unknown device 'tpu'; choose cpu or cuda"),
        ([*QUICK, "--data", "digit"], "unknown data set 'digit'; did you mean digits"),
        ([*QUICK, "--import", "nowhere.py"], "nowhere.py: there is no such file"),
        ([*QUICK, "--resume"], "--resume needs --out RUN"),
        ([*QUICK, "--setting", "tsak"], "scenario.setting must be one of task, domain, class, not 'tsak'"),
        (["--config", "nowhere.yaml"], "cannot read nowhere.yaml"),
        (["--epochs", "3"], "No such option"),
        (["list", "strategys"], "cannot list 'strategys'; did you mean strategies"),
        (["resume", "nowhere"], "nowhere holds no run"),
        (["recipe", "nonesuch"], "unknown recipe 'nonesuch'"),
        (["evaluate", "nowhere"], "cannot read nowhere"),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2_and_nothing_is_written(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    if torch.cuda.is_available() and "cuda" in arguments:
        pytest.skip("there is a CUDA device")
    monkeypatch.chdir(tmp_path)
    code, out, error = main(arguments, capsys, monkeypatch)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_run_writes_what_the_design_says(tmp_path: Path) -> None:
    code, out, error = simulate(*QUICK, "--out", "run", folder=tmp_path)
    assert code == 0, error
    written = {path.name for path in (tmp_path / "run").iterdir()}
    files = {"config.yaml", "environment.json", "metrics.jsonl", "training.jsonl", "summary.json", "accuracy_matrix.csv", "checkpoint.pt"}
    assert files | {"plots"} <= written
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert {"scenario", "strategy", "setting", "seed", "data", "average_accuracy", "average_forgetting"} <= set(summary)
    assert "backward_transfer" in summary
    assert {"forward_transfer", "wall_seconds", "train_seconds", "evaluate_seconds", "peak_memory_bytes", "parameters"} <= set(summary)
    assert summary["data"]["origin"] == "embedded"
    assert None not in summary.values()
    assert "average accuracy" in out and "forgetting" in out and "peak memory" in out and "run" in out
    code, out, _ = simulate("evaluate", "run", folder=tmp_path)
    assert code == 0
    assert f"{100 * summary['accuracy_matrix'][-1][0]:.1f}" in out
    code, _, error = simulate(*QUICK, "--out", "run", folder=tmp_path)
    assert (code, "add --resume" in error) == (2, True)
    code, _, error = simulate(*QUICK, "--seed", "1", "--out", "run", "--resume", folder=tmp_path)
    assert (code, "holds another run" in error) == (2, True)
    code, _, error = simulate("resume", "run", folder=tmp_path)
    assert (code, "is over already" in error) == (2, True)


def test_the_config_of_a_run_repeats_it(tmp_path: Path) -> None:
    assert simulate(*QUICK, "--out", "one", "--quiet", folder=tmp_path)[0] == 0
    assert simulate("--config", "one/config.yaml", "--out", "two", "--quiet", folder=tmp_path)[0] == 0
    assert (tmp_path / "one" / "metrics.jsonl").read_bytes() == (tmp_path / "two" / "metrics.jsonl").read_bytes()


def test_quiet_prints_nothing(tmp_path: Path) -> None:
    assert simulate(*QUICK, "--out", "one", "--quiet", folder=tmp_path) == (0, "", "")


def test_seeds_run_into_folders_and_are_summed_up(tmp_path: Path) -> None:
    code, out, _ = simulate(*QUICK, "--out", "group", "--seeds", "2", folder=tmp_path)
    assert code == 0
    assert (tmp_path / "group" / "seed-0" / "summary.json").exists() and (tmp_path / "group" / "seed-1" / "summary.json").exists()
    assert "sd" in out
    code, out, _ = simulate("compare", "group", "--out", "comparison", folder=tmp_path)
    assert code == 0
    assert (tmp_path / "comparison" / "forgetting_curves.png").exists() and (tmp_path / "comparison" / "table.md").exists()


def test_a_divergence_stops_with_exit_code_3_and_names_the_checkpoint(tmp_path: Path) -> None:
    code, _, error = simulate(*QUICK, "--set", "train.learning_rate=1e30", "--set", "train.optimizer=sgd", "--out", "run", folder=tmp_path)
    assert code == 3
    assert error.count("\n") == 1
    assert "no longer a finite number: experience 0, phase 'train'" in error and "checkpoint.pt" in error
    assert "begin again with a lower rate: --out NEW --set train.learning_rate=1e+29" in error
    assert (tmp_path / "run" / "checkpoint.pt").exists()


def test_a_foreign_or_broken_checkpoint_is_refused(tmp_path: Path) -> None:
    assert simulate(*QUICK, "--out", "run", "--quiet", folder=tmp_path)[0] == 0
    (tmp_path / "run" / "summary.json").unlink()
    for content in (b"not a checkpoint", b"\x80\x02cos\nsystem\n(S'touch hacked'\ntR."):
        (tmp_path / "run" / "checkpoint.pt").write_bytes(content)
        code, _, error = simulate("resume", "run", folder=tmp_path)
        assert code == 2
        assert "is not a readable checkpoint" in error
    assert not (tmp_path / "hacked").exists()


def test_an_output_folder_that_cannot_be_written_or_is_not_a_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    code, _, error = simulate(*QUICK, "--out", "file/run", folder=tmp_path)
    assert code == 2 and "cannot write to file/run" in error
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    code, _, error = simulate(*QUICK, "--out", "full", folder=tmp_path)
    assert code == 2 and "is not empty and holds no run" in error
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("text", ["scenario: [1, 2]", "scnario: split-digits", "- a", "a: b: c", "", "\x00"])
def test_a_config_file_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "asked.yaml").write_text(text)
    code, _, error = simulate("--config", "asked.yaml", "--out", "run", folder=tmp_path)
    assert code == 2
    assert error.startswith("error: asked.yaml") and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_flags_beat_the_file_and_set_beats_flags(tmp_path: Path) -> None:
    (tmp_path / "asked.yaml").write_text("scenario: split-digits\nstrategy: naive\nseed: 5\ntrain: {epochs: 1, batch_size: 32}\n")
    arguments = ["--config", "asked.yaml", "--seed", "6", "--set", "train.batch_size=16", "--set", "seed=7", "--out", "run", "--quiet"]
    assert simulate(*arguments, folder=tmp_path)[0] == 0
    written = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (written["seed"], written["train"]["batch_size"], written["train"]["epochs"]) == (7, 16, 1)
    assert written["network"]["name"] == "mlp"


def test_help_and_list_are_quick() -> None:
    for arguments, limit in ((["--help"], 0.5), (["list"], 1.0)):
        best = 1e9
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            assert simulate(*arguments)[0] == 0
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            # Processor time, so that a busy machine does not count.
            best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert best < limit * (1 if os.environ.get("CI") is None else 2)


def test_list_shows_a_components_options_with_their_defaults() -> None:
    code, out, _ = simulate("list", "strategies", "rescl")
    assert code == 0
    assert "strategy.l1" in out and "Residual Continual Learning" in out
    for kind in ("scenarios", "strategies", "networks", "metrics", "data"):
        assert simulate("list", kind)[0] == 0


def test_a_few_shot_run_is_tested_on_its_own_and_on_other_classes(tmp_path: Path) -> None:
    spec = ["--set", "scenario.queries=2", "--set", "scenario.test_episodes=10", "--set", "train.iterations=2"]
    arguments = ["--scenario", "digits", "--strategy", "protonet", "--network", "mlp", "--set", "network.hidden=8", *spec]
    code, out, error = simulate(*arguments, "--out", "run", "--test-scenario", "digits", folder=tmp_path)
    assert code == 0, error
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert {"mean", "ci95", "episodes", "ways", "shots"} <= set(summary["few_shot_accuracy"])
    assert summary["cross_domain"]["mean"] == summary["few_shot_accuracy"]["mean"]
    assert summary["bn_mode"] and "5-way 1-shot accuracy" in out
    code, out, _ = simulate("evaluate", "run", "--test-scenario", "digits", folder=tmp_path)
    assert code == 0
    assert out.count(f"{100 * summary['few_shot_accuracy']['mean']:.2f}") == 2
    code, _, error = simulate(*QUICK, "--test-scenario", "digits", folder=tmp_path)
    assert code == 2 and "--test-scenario digits needs few-shot scenarios on both sides" in error
    code, _, error = simulate("--scenario", "digits", "--strategy", "naive", folder=tmp_path)
    assert code == 2 and "'naive' does not work in setting 'episodic'" in error


MINE = '''
from strategies import register
from strategies.naive import Naive

@register("mine", "naive under another name")
class Mine(Naive):
    pass
'''


def test_a_strategy_of_the_users_own_runs(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    arguments = ["--scenario", "split-digits", "--strategy", "mine", "--set", "train.epochs=1", "--import", "mine.py", "--out", "run"]
    code, out, error = simulate(*arguments, folder=tmp_path)
    assert code == 0, error
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["strategy"] == "mine"
    assert simulate("evaluate", "run", folder=tmp_path)[0] == 0
    code, out, _ = simulate("list", "strategies", "--import", "mine.py", folder=tmp_path)
    assert "naive under another name" in out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1/0", "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("quit()", "SystemExit: None"),
        ("raise ValueError('a\\nb' * 5000)", "ValueError: a ba ba b"),
        ("def f(:", "SyntaxError: invalid syntax"),
        ("import nonesuch", "ModuleNotFoundError: No module named 'nonesuch'"),
        ("\0", "null bytes"),
    ],
)
def test_a_failing_import_is_one_line(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(content)
    code, _, error = call(*QUICK, "--import", tmp_path / "mine.py", "--out", tmp_path / "run")
    assert code == 2 and f"{tmp_path / 'mine.py'} failed: " in error and message in error
    assert error.count("\n") == 1 and len(error) < 1100
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("out", ["file", "/dev/null", "a" * 300, "file/run", "loop", "nowhere", "/".join(3000 * "a"), "thesis"])
def test_an_output_that_is_no_directory_is_refused(out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("gone")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").touch()
    for arguments in ([], ["--seeds", "2"]) if out != "thesis" else ([],):
        code, _, error = call(*QUICK, "--out", out, *arguments)
        assert code == 2 and error.count("\n") == 1 and len(error) < 1100, error
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "loop", "nowhere", "thesis", "thesis.tex"]


def test_too_few_file_handles_are_one_line(tmp_path: Path) -> None:
    # What a run and a complaint import is imported before handles are scarce.
    assert call(*QUICK, "--out", tmp_path / "first")[0] == 0 and call("resume", tmp_path / "nowhere")[0] == 2
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    filling = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (filling[0] + 2, before[1]))
    try:
        # The limit counts numbers, not files: those that are free below it are taken, and one is given back.
        with contextlib.suppress(OSError):
            while True:
                filling.append(os.open(os.devnull, os.O_RDONLY))
        os.close(filling.pop())
        code, _, error = call(*QUICK, "--out", tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for handle in filling:
            os.close(handle)
    assert code in (2, 3) and error.count("\n") == 1 and "Too many open files" in error, error
