"""What is known before a sweep begins: mistakes in its options, runs that are over already, and how long like runs took.

Runs that are over are found by the fingerprint of their whole configuration, whatever they are called. It follows from the request and some
facts about the data, which a finished run's summary names; data themselves are loaded only where no finished run tells these facts.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runs import config
from runs.recording import records, twins
from runs.recording.directories import flat
from runs.recording.store import comparable, differences
from runs.stopping import MISSHAPEN
from runs.sweep.trials import Trial
from scenarios.errors import UserError

UNLIKE = ("seed", "data_root", "imports", "device")
"""Entries on which a run's length does not depend, or which say where things lie."""


@dataclass(frozen=True)
class Finished:
    """A run that is over, of a sweep's folder or of the records.

    Attributes:
        config: its configuration.
        data: facts about its data.
        setting: of its scenario.
        seconds: that it took.
        place: where it lies; None for a record.
    """

    config: Mapping[str, Any]
    data: Mapping[str, Any]
    setting: str
    seconds: float
    place: Path | None


def look(trials: Sequence[Trial], folder: Path) -> list[Trial]:
    """Check the options of runs, and find those that are over or begun.

    Args:
        trials: the runs.
        folder: the sweep's.

    Returns:
        The runs with what is known of them, each configuration once.

    Raises:
        UserError: an option is wrong, no run can begin, or a run's place holds another run.
    """
    known, recorded = finished(folder), _recorded()
    over = {twins.digest(each.config): each for each in known}
    facts = _Facts([*known, *recorded])
    found: dict[str, Trial] = {}
    # Seeds of a point differ in nothing else: what it takes to look one up is done once.
    resolved: dict[str, dict[str, Any] | None] = {}
    estimates: dict[str, tuple[float | None, str]] = {}
    for trial in trials:
        label = trial.point.label
        if label not in resolved:
            resolved[label] = facts.resolve(trial.request)
        options = resolved[label]
        if options is None:
            found[trial.name] = trial
            continue
        options = {**options, "seed": trial.seed}
        digest = twins.digest(options)
        if digest in over:
            found[digest] = replace(trial, state="done", place=over[digest].place or trial.place, seconds=over[digest].seconds)
            continue
        begun = _begun(trial, options)
        if label not in estimates:
            estimates[label] = _estimate(options, [*known, *recorded])
        seconds, words = estimates[label]
        found.setdefault(digest, replace(trial, state="begun" if begun else "new", seconds=seconds, found=words))
    if facts.refused and len(facts.refused) == len({_asked(trial.request) for trial in trials}):
        raise UserError(next(iter(facts.refused.values())))
    return list(found.values())


def finished(folder: Path) -> list[Finished]:
    """Runs in a folder that are over.

    Args:
        folder: of a sweep.

    Returns:
        The runs; files that are not a run's are passed over.
    """
    found = []
    for path in sorted(folder.glob("*/seed-*/summary.json")):
        with contextlib.suppress(UserError, OSError, *MISSHAPEN):
            summary = json.loads(path.read_text(encoding="utf-8"))
            options = config.from_file(path.parent / "config.yaml")
            found.append(Finished(options, summary["data"], summary["setting"], float(summary["wall_seconds"]), path.parent))
    return found


def _recorded() -> list[Finished]:
    # Lines of other versions, and of recipes that no longer exist, are as good: they say how long something took.
    found = []
    for path in sorted(records.FOLDER.glob("*.jsonl")):
        with contextlib.suppress(UserError, OSError):
            for record in records.read(path.stem):
                if "wall_seconds" in record.summary and "shape" in record.summary["data"]:
                    summary = record.summary
                    found.append(Finished(record.config, summary["data"], summary["setting"], float(summary["wall_seconds"]), None))
    return found


class _Facts:
    """Resolves requests; what the data recommend comes from finished runs of the same scenario, else from the data."""

    def __init__(self, known: Iterable[Finished]) -> None:
        self._recommended: dict[str, Mapping[str, Any] | None] = {}
        self._told = {_asked(each.config): each for each in known if each.place is not None}
        self.refused: dict[str, str] = {}

    def resolve(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        from runs.plan import device_of
        from runs.resolution import choose, resolve, scalars

        request = config.checked(request)
        asked = choose(request, "scenario")
        key = _asked({**request, "scenario": asked.as_dict()})
        if key not in self._recommended:
            # What a scenario of the user's own recommends, it alone knows.
            told = self._told.get(key) if asked.component.__module__.startswith("scenarios.") else None
            self._recommended[key] = _recommended(told) if told else self._of_data(request, key)
        recommended = self._recommended[key]
        if recommended is None:
            return None
        device = device_of(request.get("device"))
        return {**resolve(request, recommended).as_dict(), "seed": request["seed"], "device": device.type, **scalars(request)}

    def _of_data(self, request: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
        from runs.plan import make_scenario
        from runs.resolution import choose
        from runs.showing.progress import Progress

        asked = choose(request, "scenario")
        choose(request, "strategy")
        try:
            return make_scenario(asked.component, asked.options, asked.name, asked.parts, request, Progress()).recommended
        except UserError as error:
            # These runs fail one by one, and are recorded with the reason; the others can be carried out.
            self.refused[key] = str(error)
            return None


def _asked(request: Mapping[str, Any]) -> str:
    plain = comparable({"scenario": request["scenario"], "data": request.get("data")})
    return json.dumps(plain, sort_keys=True)


def _recommended(run: Finished) -> Mapping[str, Any]:
    from scenarios.recommended import for_episodes, for_streams

    return (for_episodes if run.setting == "episodic" else for_streams)(run.data)


def _begun(trial: Trial, options: Mapping[str, Any]) -> bool:
    written = trial.place / "config.yaml"
    if not (trial.place / "checkpoint.pt").exists():
        return False
    changed = differences(comparable(config.from_file(written)), comparable(options))
    if changed:
        raise UserError(f"{trial.place} holds another run ({'; '.join(changed)}); choose another --out")
    return True


def _estimate(options: Mapping[str, Any], known: Sequence[Finished]) -> tuple[float | None, str]:
    like = [each for each in known if _alike(each.config, options, strict=True)]
    words = "the same with other seeds"
    if not like:
        like, words = [each for each in known if _alike(each.config, options, strict=False)], "the same but for values of options"
    return (sum(each.seconds for each in like) / len(like), f"{len(like)} runs: {words}") if like else (None, "")


def _alike(one: Mapping[str, Any], other: Mapping[str, Any], *, strict: bool) -> bool:
    names = ("scenario", "strategy", "network")
    if any(one.get(name, {}).get("name") != other[name]["name"] for name in names):
        return False
    first, second = (dict(flat(json.loads(json.dumps(dict(each), default=str)))) for each in (one, other))
    if strict:
        return all(first.get(path) == second.get(path) for path in first.keys() | second.keys() if path not in UNLIKE)
    decisive = [path for path in first.keys() & second.keys() if path.startswith(("scenario.", "network.", "attack.", "probe."))]
    decisive += [f"train.{name}" for name in ("epochs", "iterations", "batch_size", "precision")]
    return all(first.get(path) == second.get(path) for path in decisive if path != "scenario.seed")
