"""What a study is called: its sweep, and a digest of all its points, so that a changed definition is a new study."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from ablate import identity
from ablate.design.search import Search
from ablate.sweep.planned import PlannedPoint
from ablate.tracking import TrackingError, TrackingSpec, has_study


def definitions(points: Sequence[PlannedPoint]) -> list[str]:
    """What each point is, as text.

    Where the data lies is no part of it, unless points lie in several places: these may hold different images.
    """
    told = [identity.definition(each.leaves, each.spec.defaults()) for each in points]
    return [json.dumps(each, default=str, sort_keys=True) for each in _placed(told, points)]


def study_name(sweep: str, points: Sequence[PlannedPoint], search: Search | None) -> str:
    """The name of a sweep's study."""
    told = definitions(points)
    return _named(sweep, [told, _set_of(search)] if search else told)


def begun_before(sweep: str, points: Sequence[PlannedPoint], search: Search | None, where: TrackingSpec) -> str | None:
    """The name of this very study where an earlier version began it: then it goes on, and none is begun anew."""
    for version in identity.earlier_versions():
        told = [version.definition(each.leaves, each.spec.defaults()) for each in points]
        known = [each for each in told if each is not None]
        if len(known) < len(told):
            continue
        texts = [json.dumps(each, default=str) for each in _placed(known, points)]
        name = _named(sweep, [texts, _written_before(search)] if search else texts)
        with suppress(TrackingError):  # there is no store yet, or it is away, of which the writer tells
            if has_study(where, name):
                return name
    return None


def _named(sweep: str, definition: object) -> str:
    return f"{sweep}-{identity.digest(definition)[:8]}"


def _placed(told: Sequence[dict[str, Any]], points: Sequence[PlannedPoint]) -> Sequence[dict[str, Any]]:
    roots = [planned.leaves["data.root"] for planned in points]
    return [each | {"data.root": root} for each, root in zip(told, roots, strict=True)] if len(set(roots)) > 1 else told


def _set_of(part: Any) -> Any:
    """A search's fields that differ from their defaults: a new field that nobody sets makes no new study."""
    if isinstance(part, tuple):
        return [_set_of(each) for each in part]
    if not is_dataclass(part):
        return part
    told = [(each.name, getattr(part, each.name), _default(each)) for each in fields(part)]
    return {name: _set_of(value) for name, value, default in told if value != default}


def _default(one: "Field[Any]") -> Any:
    return one.default_factory() if one.default_factory is not MISSING else one.default


def _written_before(search: Search) -> str:
    """How f6fe46a wrote a search into a study's name, whatever the classes are called today."""
    axes = [
        f"Searched(axis={one.axis!r}, levels={one.levels!r}, low={one.low!r}, high={one.high!r}, step={one.step!r}, "
        f"log={one.log!r}, when={one.when!r})"
        for one in search.axes
    ]
    wanted = [f"Objective(metric={one.metric!r}, maximize={one.maximize!r})" for one in search.objectives]
    written = [f"({', '.join(each)}{',' if len(each) == 1 else ''})" for each in (axes, wanted)]
    sampler, pruner = str(search.sampler), str(search.pruner)
    return (
        f"Search(axes={written[0]}, objectives={written[1]}, trials={search.trials!r}, "
        f"sampler=<Sampler.{sampler}: {sampler!r}>, pruner=<Pruner.{pruner}: {pruner!r}>, epochs={search.epochs!r})"
    )
