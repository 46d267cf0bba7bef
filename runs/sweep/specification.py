"""What a sweep asks for: a request that all runs share, what varies, how it is searched, and over which seeds.

base: {scenario: split-mnist, train: {epochs: 1}}         # as in --config
vary:                                                     # a grid, or a list of grids
strategy: [naive, ewc, si]
strategy.strength: [1, 10, 100]                         # of those strategies that have it
search: {method: grid}                                    # or random, sobol, optuna with `samples` and `seed`
seeds: 5                                                  # or a list of seeds

Instead of `seeds`, options can be chosen on some seeds and reported on others (`runs.sweep.protocols`):

    select: {protocol: final, selection_seeds: 2, report_seeds: 5}
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from runs import config, yaml_files
from runs.held_out import first
from runs.recording import files
from runs.sweep import values
from runs.sweep.components import COMPONENTS
from runs.sweep.values import NAMED, Range, Values
from scenarios.errors import UserError, nearest, shortened, shown
from scenarios.options import build, option

FILE = "sweep.yaml"
ENTRIES = ("base", "vary", "search", "seeds", "select")
MOST_RUNS = 100_000
"""More runs than this are a mistake in a grid."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """How points are chosen among what options vary over. Names (scenario, strategy, ...) are always combined with each other as a grid.

    Attributes:
        method: every combination of values; points drawn at random; a scrambled Sobol sequence, which fills the space evenly; or
            optuna, which draws where earlier points did well on the selection seeds (its tree-structured Parzen estimator).
        samples: points that are drawn, for each combination of names; of a Sobol sequence best a power of two.
        seed: of what is drawn.
        batch: of optuna, points that are drawn at once and run side by side before their scores are learned from.
    """

    method: Literal["grid", "random", "sobol", "optuna"] = "grid"
    samples: int | None = option(None, low=1)
    seed: int = option(0, low=0)
    batch: int = option(4, low=1)

    def __post_init__(self) -> None:
        if self.method == "grid" and self.samples is not None:
            raise UserError("search.samples is of random, sobol and optuna; leave it out, or add search.method=random")
        if self.method != "grid" and self.samples is None:
            raise UserError(f"search.method={self.method} needs search.samples, the number of points")
        if self.method != "optuna" and self.batch != type(self).batch:
            raise UserError("search.batch is of optuna; leave it out, or add search.method=optuna")
        if self.method == "optuna" and importlib.util.find_spec("optuna") is None:
            raise UserError("search.method=optuna needs Optuna: pip install 'palimpsest[optuna]'; or choose sobol or random")


@dataclass(frozen=True, kw_only=True)
class Select:
    """How options are chosen: on the selection seeds, on validation examples; what is chosen runs with the report seeds on the test stream.

    Attributes:
        protocol: `final` looks at all experiences after the last (an oracle: who learns a stream cannot go back to its beginning);
            `first-K` at the first K, after the Kth; `target-only` at each experience just after it was learned, and never at past ones.
        metric: a number of the summary, more is better; none for average accuracy, or few-shot accuracy where there are episodes.
        selection_seeds: how many, or which.
        report_seeds: how many (those that follow), or which; none of them is a selection seed.
        validation_share: scenario.validation_share of the selection runs where the request gives none.
        stability: of target-only, the option whose greatest value is chosen (`strategy.strength`), as long as accuracy stays within the
            tolerance.
        tolerance: of target-only, the share of the best accuracy that may be lost for stability.
    """

    protocol: str = "final"
    metric: str | None = None
    selection_seeds: tuple[int, ...] = (0,)
    report_seeds: tuple[int, ...] = (1,)
    validation_share: float = option(0.1, above=0, high=0.9)
    stability: str | None = None
    tolerance: float = option(0.2, low=0, high=1)

    def __post_init__(self) -> None:
        first(self.protocol)
        shared = sorted(set(self.selection_seeds) & set(self.report_seeds))
        if shared:
            raise UserError(f"seeds that options are selected on are not reported: {', '.join(map(str, shared[:5]))} are in both lists")
        if self.stability and self.protocol != "target-only":
            raise UserError("select.stability is of target-only, which never sees forgetting; leave it out, or choose that protocol")
        if self.metric and self.protocol == "target-only":
            raise UserError("target-only looks at accuracy just after learning; leave select.metric out")


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a sweep asks for.

    Attributes:
        base: the request that all runs share.
        vary: grids, each path to values.
        search: how points are chosen.
        seeds: which are run; those of the report where options are selected.
        select: how options are chosen; None where all points are reported.
    """

    base: dict[str, Any]
    vary: tuple[dict[str, Values], ...] = ({},)
    search: Search = Search()
    seeds: tuple[int, ...] = (0,)
    select: Select | None = None

    def __post_init__(self) -> None:
        if self.search.method == "optuna" and self.select is None:
            example = "select: {protocol: final, selection_seeds: 2, report_seeds: 5}"
            raise UserError(f"search.method=optuna learns from scores on selection seeds; instead of seeds give {example}")

    def as_dict(self) -> dict[str, Any]:
        """The sweep as `read` takes it.

        Returns:
            Plain values.
        """

        def plain(path: str, held: Values) -> Any:
            if isinstance(held, Range):
                return held.as_dict()
            return [list(value) if isinstance(value, (list, tuple)) else value for value in held]

        unset = () if self.search.method == "optuna" else ("batch",)
        search = {name: value for name, value in dataclasses.asdict(self.search).items() if value is not None and name not in unset}
        vary = [{path: plain(path, held) for path, held in grid.items()} for grid in self.vary]
        shared = {"base": self.base, "vary": vary, "search": search}
        if self.select is None:
            return {**shared, "seeds": list(self.seeds)}
        held = {name: value for name, value in config.as_dict(self.select).items() if value is not None}
        return {**shared, "select": held}

    def write(self, folder: Path) -> None:
        """Write down what is asked for.

        Args:
            folder: the sweep's.
        """
        with files.making(folder):
            folder.mkdir(parents=True, exist_ok=True)
        files.write_text(folder / FILE, config.to_yaml(self.as_dict()))


def read(path: Path) -> Sweep:
    """Read a sweep from a file.

    Args:
        path: a YAML file.

    Returns:
        The sweep.

    Raises:
        UserError: it is no sweep.
    """
    content = yaml_files.load(path, "name a sweep's file (docs/sweeps.md)")
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: there is nothing in it; a sweep has the entries {', '.join(ENTRIES)}")
    for name in content:
        if name not in ENTRIES:
            raise UserError(f"{path}: unknown entry '{shortened(name)}'{nearest(shortened(name), ENTRIES)}")
    base = config.absolute(config.checked(content.get("base") or {}, f"{path}: base: "))
    import_files(base)
    grids = content.get("vary") or {}
    vary = [_grid(grid, base, f"{path}: ") for grid in (grids if isinstance(grids, list) else [grids])]
    search = content.get("search") or {}
    if not isinstance(search, Mapping):
        raise UserError(f"{path}: search holds options, like {{method: sobol, samples: 16}}, not {shown(search)}")
    built = build(Search, search, "search")
    start = base.pop("seed", 0)
    if content.get("select") is None:
        return Sweep(base=base, vary=tuple(vary), search=built, seeds=_seeds(content.get("seeds", 1), start, f"{path}: seeds"))
    if "seeds" in content:
        raise UserError(f"{path}: seeds stand in select, as selection_seeds and report_seeds; leave the entry seeds out")
    select = _select(content["select"], start, f"{path}: ")
    return Sweep(base=base, vary=tuple(vary), search=built, seeds=select.report_seeds, select=select)


def from_command(request: Mapping[str, Any], settings: Mapping[str, Any], number: int | None) -> Sweep:
    """Read a sweep from a command line on which something has several values.

    Args:
        request: all that was asked for; names and what `--set` gave are text still.
        settings: that part of it which `--set` gave.
        number: of seeds; None for one.

    Returns:
        The sweep; its grid is empty where nothing has several values.
    """
    base = config.checked(request)
    import_files(base)
    start = base.pop("seed", 0)
    vary: dict[str, Values] = {}
    texts = {section: base[section]["name"] for section in COMPONENTS if base.get(section, {}).get("name")}
    texts |= {name: base[name] for name in ("data", "test_scenario") if base.get(name)}
    for section, given in settings.items():
        texts |= {f"{section}.{name}": text for name, text in given.items() if name != "name"} if isinstance(given, Mapping) else {}
    for path, text in texts.items():
        if len(held := values.split(path, text, base)) > 1:
            vary[path] = tuple(dict.fromkeys(held))
    for path in vary:
        base = without(base, path)
    return Sweep(base=config.absolute(base), vary=(vary,), seeds=_seeds(number or 1, start, "--seeds"))


def may_vary(request: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether a command line may ask for several values of something: told by its text alone, without importing a component.

    Args:
        request: all that was asked for.
        settings: that part of it which `--set` gave.

    Returns:
        False where it cannot.
    """
    names = [request.get(section, {}).get("name") for section in COMPONENTS] + [request.get("data"), request.get("test_scenario")]
    texts = [text for given in settings.values() if isinstance(given, Mapping) for text in given.values()]
    return any("," in str(text) or ";" in str(text) for text in (*names, *texts) if text)


def without(request: Mapping[str, Any], path: str) -> dict[str, Any]:
    """A request less one entry.

    Args:
        request: the request.
        path: an option, or a name.

    Returns:
        The rest.
    """
    section, _, name = path.partition(".")
    if path in ("data", "test_scenario"):
        return {key: value for key, value in request.items() if key != path}
    rest = {key: value for key, value in request.get(section, {}).items() if key != (name or "name")}
    return {**request, section: rest}


def import_files(request: Mapping[str, Any]) -> None:
    """Import the user's own files, so that what they register is known.

    Args:
        request: names them.
    """
    if request.get("imports"):
        from runs.plan import import_file

        for path in request["imports"]:
            import_file(Path(path))


def _grid(grid: Any, base: Mapping[str, Any], where: str) -> dict[str, Values]:
    if not isinstance(grid, Mapping):
        raise UserError(f"{where}vary holds options and their values, like {{strategy.strength: [1, 10]}}, not {shown(grid)}")
    names = {}
    for path, given in grid.items():
        section, dot, name = str(path).partition(".")
        if path not in NAMED and (not dot or not name or section not in config.SECTIONS):
            sections = [f"{each}.OPTION" for each in config.SECTIONS]
            raise UserError(f"{where}cannot vary '{shortened(path)}'{nearest(shortened(path), [*NAMED, *sections])}")
        if path in NAMED:
            held = values.read(path, given, base)
            if isinstance(held, Range) or not all(isinstance(value, str) for value in held):
                raise UserError(f"{where}{path} varies over names")
            names[path] = held
    several = {section: {**base.get(section, {}), "name": ";".join(names[section])} for section in COMPONENTS if section in names}
    request = {**base, **several}
    return {str(path): names[path] if path in names else values.read(str(path), given, request) for path, given in grid.items()}


def _select(content: Any, start: Any, where: str) -> Select:
    if not isinstance(content, Mapping):
        raise UserError(f"{where}select holds options, like {{protocol: final, selection_seeds: 2, report_seeds: 5}}, not {shown(content)}")
    chosen = _seeds(content.get("selection_seeds", 1), start, f"{where}select.selection_seeds")
    reported = _seeds(content.get("report_seeds", 1), max(chosen) + 1, f"{where}select.report_seeds")
    return build(Select, {**content, "selection_seeds": chosen, "report_seeds": reported}, "select")


def _seeds(given: Any, start: Any, where: str) -> tuple[int, ...]:
    def whole(value: Any) -> int:
        try:
            number = int(str(value))
        except ValueError:
            number = -1
        if number < 0:
            raise UserError(f"{where} must be whole numbers from 0, not {shown(value)}")
        return number

    if isinstance(given, Sequence) and not isinstance(given, str):
        found = tuple(dict.fromkeys(whole(seed) for seed in given))
    else:
        begin = whole(start)
        found = tuple(range(begin, begin + min(whole(given), MOST_RUNS)))
    if not found:
        raise UserError(f"{where} must be at least one")
    return found
