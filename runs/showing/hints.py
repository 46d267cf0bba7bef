"""What to say to somebody who typed a flag or a command that does not exist: the option that comes nearest, with its path."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Sequence

WORDS = {"lr": "learning_rate", "bs": "batch_size", "wd": "weight_decay", "iters": "iterations", "batch": "batch_size"}
"""What people call options elsewhere."""


def of_flag(message: str) -> str:
    """Find the option that a wrong flag may have meant.

    Args:
        message: the complaint about the flag, which names it.

    Returns:
        One sentence; empty where nothing comes near.

    Example:
        >>> of_flag("No such option: --lr")
        'did you mean --set train.learning_rate=VALUE? (`simulate list train` shows such options)'
    """
    from runs.showing.listing import sections

    found = re.search(r"--([\w-]+)", message)
    if found is None:
        return ""
    word = found[1].lower().replace("-", "_")
    word = WORDS.get(word, word)
    paths = {field.name: section for section, config in reversed(sections().items()) for field in dataclasses.fields(config)}
    for name in difflib.get_close_matches(word, paths, n=1, cutoff=0.75):
        return f"did you mean --set {paths[name]}.{name}=VALUE? (`simulate list {paths[name]}` shows such options)"
    return ""


def of_command(message: str) -> str:
    """Say how to run what was named as if it were a command.

    Args:
        message: the complaint, which names it.

    Returns:
        One sentence; empty where it is no component's name.

    Example:
        >>> of_command("No such command 'naive'.")
        "'naive' is one of the strategies: `simulate --strategy naive ...` runs it, `simulate list strategies naive` describes it"
    """
    from runs.showing.listing import registries

    found = re.search(r"No such command '([^']+)'", message)
    for kind, registry in registries().items():
        if found and found[1] in registry.rows and kind in FLAGS:
            name = found[1]
            said = f"'{name}' is one of the {kind}: `simulate --{FLAGS[kind]} {name} ...` runs it"
            return f"{said}, `simulate list {kind} {name}` describes it"
    return ""


def asked_about(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """Find the components that a command asks for help about, as `--strategy ewc --help` does.

    Args:
        arguments: of the command.

    Returns:
        Kinds and names, in the order in which they stand; none where it asks for no help, or names a command.

    Example:
        >>> asked_about(["--scenario", "split-cifar", "--strategy=ewc", "--help"])
        [('scenarios', 'split-cifar'), ('strategies', 'ewc')]
        >>> asked_about(["--strategy", "ewc"]), asked_about(["list", "--help"])
        ([], [])
    """
    if not {"-h", "--help"} & set(arguments) or not arguments[0].startswith("-"):
        return []
    kinds = {f"--{flag}": kind for kind, flag in FLAGS.items()}
    words = [word for argument in arguments for word in argument.split("=", 1)]
    named = [(kinds[flag], names) for flag, names in zip(words, words[1:]) if flag in kinds and not names.startswith("-")]
    return [(kind, name) for kind, names in named for name in names.split(",")]


FLAGS = {
    "scenarios": "scenario",
    "strategies": "strategy",
    "networks": "network",
    "attacks": "attack",
    "defences": "defence",
    "probes": "probe",
}
"""The flag that takes a component of each kind."""
