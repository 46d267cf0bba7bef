"""Names of components and where they live. Reading a registry imports neither torch nor any component.

A row is a name, one line of text and a place (`module:Class`). A name may hold placeholders in capitals, as in `split-SET`; what stands in
their place is handed to the component as an option (`set`). User code adds a row with `register`.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from scenarios.errors import UserError, nearest, shortened

T = TypeVar("T", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class Row:
    """One component.

    Attributes:
        name: what the user types; capitals are placeholders.
        line: what it is, in one line.
        place: `module:Class` of the component.
        fixed: options that the name stands for.
        alias: the name that is written down instead of this one, so that runs under both names are of one kind.
        label: what must stand beside the name wherever it is shown: `reconstruction` or `reference design`, where the source of a method
            could not be read in full.
    """

    name: str
    line: str
    place: str
    fixed: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    alias: str | None = None
    label: str = ""

    def match(self, name: str) -> dict[str, Any] | None:
        """Compare a name with this row.

        Args:
            name: a name as the user types it.

        Returns:
            The options that the name stands for, or None where it is another component's name.
        """
        parts = re.split(r"([A-Z]+)", self.name)
        pattern = "".join(f"(?P<{part.lower()}>[A-Za-z0-9].*?)" if part.isupper() else re.escape(part) for part in parts)
        found = re.fullmatch(pattern, name)
        return {**found.groupdict(), **self.fixed} if found else None


class Registry:
    """The components of one kind.

    Args:
        kind: what the components are called in messages, for instance `scenario`.
        rows: the components that ship with the project.
    """

    def __init__(self, kind: str, rows: Iterable[Row]) -> None:
        self.kind = kind
        self.rows = {row.name: row for row in rows}
        self._loaded: dict[str, Any] = {}

    def names(self) -> list[str]:
        """All names, placeholders included.

        Returns:
            The names in the order of the registry.
        """
        return list(self.rows)

    def find(self, name: str) -> tuple[Row, dict[str, Any]]:
        """Look a name up: an exact row first, then rows with placeholders.

        Args:
            name: a name as the user types it.

        Returns:
            The row, and the options that the name stands for.

        Raises:
            UserError: no component is called so.
        """
        for row in sorted(self.rows.values(), key=lambda row: (row.name != name, any(c.isupper() for c in row.name))):
            options = row.match(name)
            if options is not None:
                return row, options
        raise UserError(f"unknown {self.kind} '{shortened(name)}'{nearest(name, self.names())}")

    def canonical(self, name: str) -> str:
        """The name under which a component is written down.

        Args:
            name: a name as the user types it.

        Returns:
            The same, or what it is an alias of.
        """
        return self.find(name)[0].alias or name

    def label(self, name: str) -> str:
        """What must stand beside a component's name.

        Args:
            name: a name as the user types it.

        Returns:
            The label of the component, or of those that its name combines; empty where there is none, or no such component.
        """
        try:
            row, options = self.find(name)
        except UserError:
            return ""
        combined = [options[part.lower()] for part in re.findall(r"[A-Z]+", row.name)]
        labels = [row.label, *(self.label(part) for part in combined)]
        return ", ".join(dict.fromkeys(label for label in labels if label))

    def shown(self, name: str) -> str:
        """A component's name as people are to read it.

        Args:
            name: a name as the user types it.

        Returns:
            The name, with its label in brackets.
        """
        label = self.label(name)
        return f"{name} ({label})" if label else name

    def load(self, name: str) -> tuple[Any, dict[str, Any]]:
        """Import a component.

        Args:
            name: a name as the user types it.

        Returns:
            The component's class, and the options that the name stands for. A component with a method `of` makes a class of them itself.
        """
        row, options = self.find(name)
        component = self.component(row)
        if options and hasattr(component, "of"):
            if name not in self._loaded:
                self._loaded[name] = component.of(**options)
            return self._loaded[name], {}
        return component, options

    def component(self, row: Row) -> Any:
        """Import the component of a row.

        Args:
            row: the row.

        Returns:
            The component's class.
        """
        if row.name not in self._loaded:
            module, _, attribute = row.place.partition(":")
            self._loaded[row.name] = getattr(importlib.import_module(module), attribute)
        return self._loaded[row.name]

    def register(self, name: str, line: str, label: str = "") -> Callable[[T], T]:
        """Decorate a class of the user's own so that it can be named on the command line.

        Args:
            name: what the user will type.
            line: what it is, in one line.
            label: what must stand beside the name wherever it is shown.

        Returns:
            The decorator; it raises a `UserError` where another component has the name.
        """

        def add(component: T) -> T:
            place = f"{component.__module__}:{component.__qualname__}"
            if name in self.rows and self.rows[name].place != place:
                raise UserError(f"there is a {self.kind} '{name}' already ({self.rows[name].place}); register yours under another name")
            self.rows[name] = Row(name, line, place, label=label)
            self._loaded[name] = component
            return component

        return add
