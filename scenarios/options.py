"""Options of components: keyword-only frozen dataclasses, filled from text or values, checked, and described.

A component's class has an attribute `Config`: the dataclass whose fields are its options, whose defaults are their defaults, and whose
docstring (Google style, section `Attributes`) documents them. `option(1.0, low=0)` bounds a field. Numbers are finite, and lists have
something in them, always.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from scenarios.errors import UserError, nearest, shortened, shown

C = TypeVar("C")


LARGEST, LARGEST_WHOLE = 1e30, 10**18
"""The largest numbers that an option may have: what is computed from them still fits in float32 and int64."""


def option(default: Any, *, low: float | None = None, high: float | None = None, above: float | None = None) -> Any:
    """A dataclass field with bounds.

    Args:
        default: its default value.
        low: the least value allowed.
        high: the greatest value allowed.
        above: a value that must be exceeded.

    Returns:
        The field.
    """
    return dataclasses.field(default=default, metadata={"low": low, "high": high, "above": above})


def build(config: type[C], values: Mapping[str, Any], path: str) -> C:
    """Fill a configuration dataclass.

    Args:
        config: the dataclass.
        values: option names to values, or to text that stands for values.
        path: what the options are called for the user, for instance `strategy`.

    Returns:
        The configuration, every value of the field's type and inside its bounds.

    Raises:
        UserError: an option does not exist, has the wrong type, or is out of bounds.
    """
    fields = {told(field.name): field for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    checked = {}
    for name, value in _gathered(values, typing.get_type_hints(config)).items():
        if name not in fields:
            raise UserError(f"unknown option {path}.{shortened(str(name))}{nearest(str(name), fields)}")
        checked[fields[name].name] = convert(config, name, value, f"{path}.{name}")
    return config(**checked)


def told(name: str) -> str:
    """What an option is called for the user: a field that would be a word of Python's own ends with a stroke, the option does not.

    Args:
        name: of a field.

    Returns:
        Of the option.

    Example:
        >>> told("from_"), told("epochs")
        ('from', 'epochs')
    """
    return name.removesuffix("_")


def _gathered(values: Mapping[str, Any], hints: Mapping[str, Any]) -> dict[str, Any]:
    # `options.betas` is the entry `betas` of the option `options`, where that holds further options by name.
    gathered: dict[str, Any] = {}
    for name, value in values.items():
        head, dot, entry = str(name).partition(".")
        if dot and get_origin(hints.get(head)) is Mapping:
            gathered[head] = {**gathered.get(head, {}), entry: value}
        else:
            gathered[str(name)] = {**gathered.get(head, {}), **value} if isinstance(value, Mapping) else value
    return gathered


def is_list(config: type, name: str) -> bool | None:
    """Whether an option's value is a list itself.

    Args:
        config: the dataclass.
        name: the option.

    Returns:
        True also for what may be a list, as an entry of options by name; None where there is no such option.
    """
    hints = typing.get_type_hints(config)
    head, dot, _ = name.partition(".")
    if get_origin(hints.get(head)) is Mapping:
        return True
    names = {told(field.name): field.name for field in dataclasses.fields(config)}
    if dot or head not in names:
        return None
    hint = hints[names[head]]
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return any(get_origin(kind) is tuple for kind in kinds)


def convert(config: type, name: str, value: Any, path: str) -> Any:
    """Read one option's value.

    Args:
        config: the dataclass.
        name: the option; entries of options by name stay as they are written.
        value: a value, or text that stands for one.
        path: what the option is called for the user, for instance `strategy.strength`.

    Returns:
        A value of the option's type, inside its bounds.
    """
    fields = {told(field.name): field for field in dataclasses.fields(config)}
    if name not in fields:
        return value
    found = _convert(value, typing.get_type_hints(config)[fields[name].name], path)
    _bound(found, fields[name].metadata, path)
    return found


def describe(config: type) -> list[tuple[str, str, Any, str]]:
    """List the options of a configuration dataclass.

    Args:
        config: the dataclass.

    Returns:
        For each option its name, type, default and documentation.
    """
    texts: dict[str, str] = {}
    for kind in reversed(config.__mro__):
        texts |= _attribute_texts(kind.__doc__ or "")
    hints = typing.get_type_hints(config)
    rows = []
    for field in dataclasses.fields(config):
        if field.default is not dataclasses.MISSING:
            default = field.default
        else:
            default = field.default_factory() if field.default_factory is not dataclasses.MISSING else None
        rows.append((told(field.name), _in_words(hints[field.name]), default, texts.get(field.name, "")))
    return rows


def _in_words(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(_in_words(argument) for argument in arguments)
    if origin is Literal:
        return "|".join(map(str, arguments))
    if origin is Mapping:
        return "options by name"
    if origin is tuple:
        return f"{_in_words(arguments[0])},..."
    return {int: "whole number", float: "number", bool: "true|false", str: "text", type(None): "none"}.get(kind, str(kind))


def _attribute_texts(docstring: str) -> dict[str, str]:
    section = re.split(r"\n\s*Attributes:\s*\n", docstring)
    texts: dict[str, str] = {}
    name = ""
    for line in section[1].splitlines() if len(section) > 1 else []:
        found = re.match(r"\s{8}(\w+): (.*)", line) or re.match(r"\s{4,8}(\w+): (.*)", line)
        if found:
            name = found[1]
            texts[name] = found[2].strip()
        elif name and line.strip():
            texts[name] += " " + line.strip()
        elif not line.strip():
            name = ""
    return texts


def _convert(value: Any, kind: Any, path: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None or value in ("none", "null", "None", ""):
            if type(None) in arguments:
                return None
        failures = []
        for argument in arguments:
            if argument is not type(None):
                try:
                    return _convert(value, argument, path)
                except UserError as error:
                    failures.append(error)
        raise failures[-1 if isinstance(value, (list, tuple)) else 0]
    if origin is Literal:
        if isinstance(value, (list, tuple, dict)):
            raise UserError(f"{path} must be one of {', '.join(map(str, arguments))}, not {shown(value)}")
        if value in arguments:
            return value
        for argument in arguments:
            if str(value).lower() == str(argument).lower():
                return argument
        raise UserError(f"{path} must be one of {', '.join(map(str, arguments))}, not {shown(value)}")
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise UserError(f"{path} holds options by name: set {path}.NAME=VALUE, not {shown(value)}")
        return {str(name): _plain(each, f"{path}.{name}") for name, each in value.items()}
    if origin is tuple:
        parts = value.replace(" ", "").strip("[]()").split(",") if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)):
            parts = [parts]
        converted = tuple(_convert(part, arguments[0], path) for part in parts if part != "")
        if not converted:
            raise UserError(f"{path} is empty; give it at least one value")
        return converted
    return _convert_scalar(value, kind, path)


def _plain(value: Any, path: str) -> Any:
    # An option whose type its owner knows: numbers, words and lists of numbers are told by how they are written.
    if isinstance(value, str) and "," in value:
        value = [part.strip() for part in value.split(",")]
    if isinstance(value, (list, tuple)):
        return tuple(_plain(part, path) for part in value)
    for kind in (bool, int, float):
        if kind is bool and str(value) in ("0", "1"):
            continue
        try:
            return _convert_scalar(value, kind, path)
        except UserError:
            continue
    if isinstance(value, str):
        return value
    raise UserError(f"{path} must be a number, a word, or a list of them, not {shown(value)}")


def _convert_scalar(value: Any, kind: type, path: str) -> Any:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if isinstance(value, (dict, list, tuple)):
        pass
    elif kind is bool:
        named = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
        if isinstance(value, bool):
            return value
        if str(value).lower() in named:
            return named[str(value).lower()]
    elif kind is int and not isinstance(value, bool):
        try:
            number = float(value)
            if number.is_integer():
                return int(value) if isinstance(value, str) and value.lstrip("+-").isdigit() else int(number)
        except (TypeError, ValueError, OverflowError):
            pass
    elif kind is float and not isinstance(value, bool):
        try:
            number = float(value)
            if math.isinf(number):
                raise OverflowError
            if not math.isnan(number):
                return number
        except OverflowError:
            raise UserError(f"{path} must be a finite number, not {shown(value)}") from None
        except (TypeError, ValueError):
            pass
    elif kind is str:
        return str(value)
    raise UserError(f"{path} must be {words.get(kind, kind)}, not {shown(value)}")


def _bound(value: Any, metadata: Mapping[str, Any], path: str) -> None:
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, (int, float)):
            if metadata.get("low") is not None and number < metadata["low"]:
                raise UserError(f"{path} must be at least {metadata['low']}, not {shortened(str(number))}")
            if metadata.get("above") is not None and number <= metadata["above"]:
                raise UserError(f"{path} must be above {metadata['above']}, not {shortened(str(number))}")
            if metadata.get("high") is not None and number > metadata["high"]:
                raise UserError(f"{path} must be at most {metadata['high']}, not {shortened(str(number))}")
            largest = LARGEST if isinstance(number, float) else LARGEST_WHOLE
            if abs(number) > largest:
                raise UserError(f"{path} must be at most {largest:.0e} in size, not {shortened(str(number))}")
