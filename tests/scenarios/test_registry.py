"""Names lead to components; placeholders are filled from the name; reading a registry imports nothing."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from scenarios.errors import UserError
from scenarios.registry import Registry, Row

ROWS = [
    Row("split-SET", "any set", "scenarios.options:build"),
    Row("split-special", "one of its own", "scenarios.options:describe"),
    Row("alias", "another name", "scenarios.options:build", {"set": "mnist"}),
    Row("move-A-B", "from one to another", "scenarios.options:build"),
]


@pytest.mark.parametrize(
    ("name", "row", "options"),
    [
        ("split-mnist", "split-SET", {"set": "mnist"}),
        ("split-special", "split-special", {}),
        ("alias", "alias", {"set": "mnist"}),
        ("move-mnist-usps", "move-A-B", {"a": "mnist", "b": "usps"}),
    ],
)
def test_a_name_finds_its_row_and_fills_its_placeholders(name: str, row: str, options: dict) -> None:
    found, filled = Registry("scenario", ROWS).find(name)
    assert (found.name, filled) == (row, options)


def test_an_alias_is_written_down_as_what_it_stands_for() -> None:
    short = Row("short", "short for split-mnist", "scenarios.options:build", {"set": "mnist"}, "split-mnist")
    registry = Registry("scenario", [*ROWS, short])
    assert registry.canonical("short") == "split-mnist"
    assert registry.canonical("split-usps") == "split-usps"


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown scenario 'alais'; did you mean alias"):
        Registry("scenario", ROWS).find("alais")


def test_a_registered_class_is_found_and_described() -> None:
    registry = Registry("strategy", [])

    @registry.register("mine", "a line")
    class Mine:
        pass

    assert registry.load("mine") == (Mine, {})
    assert registry.names() == ["mine"]


MODULES = ["scenarios", "strategies", "metrics", "runs", "runs.cli", "runs.showing.listing", "runs.showing.compare", "runs.config"]


@pytest.mark.parametrize("module", MODULES)
def test_importing_the_rooms_imports_neither_torch_nor_matplotlib(module: str) -> None:
    code = f"import sys, {module}; sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib', 'avalanche', 'learn2learn')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_row_of_every_registry_leads_to_a_class_with_documented_options() -> None:
    from runs.showing.listing import registries
    from scenarios.options import describe

    for kind in ("scenarios", "strategies", "networks", "probes"):
        registry = registries()[kind]
        for name in registry.names():
            chosen = re.sub("SOURCE|TARGET|SETS?|NAME", "mnist", name).replace("A+B", "l2f+tapl").replace("METHOD", "ewc")
            component = registry.component(registry.find(chosen)[0])
            for option, _, _, meaning in describe(component.Config):
                assert meaning, f"{kind} {name}: option {option} is not documented"


def test_a_label_stands_beside_the_name_and_beside_names_that_combine_it() -> None:
    made_up = Row("made-up", "a method read nowhere", "scenarios.options:build", label="reconstruction")
    registry = Registry("strategy", [*ROWS, made_up, Row("A+B", "two of them", "scenarios.options:build")])
    assert registry.shown("made-up") == "made-up (reconstruction)"
    assert registry.shown("alias+made-up") == "alias+made-up (reconstruction)"
    assert registry.shown("made-up+alias+made-up") == "made-up+alias+made-up (reconstruction)"
    assert registry.shown("alias") == "alias" and registry.label("nobody's") == ""


def test_methods_that_could_not_be_read_in_full_say_so() -> None:
    from strategies.registry import strategies

    assert {name: strategies.label(name) for name in ("tapl", "l2f+tapl", "l2f+cxgrad")} == {
        "tapl": "reference design",
        "l2f+tapl": "reference design",
        "l2f+cxgrad": "",
    }
    assert strategies.label("xkfac") == strategies.label("hnet-cnet") == "reconstruction"
