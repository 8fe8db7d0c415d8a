"""Tags made of other values: fitted to MLflow's limits, named after a study, searched by. ``names`` has their keys."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from ablate.tracking.names import DEFINITION, LEVEL, REDRAWN, RUN, SERVES, SHOWN, TAG_COLUMN

_PARAM_LIMIT = 6000
_TAG_LIMIT = 8000
_PER_BATCH = 100  # parameters or tags in one call, MLflow's limit


def param_text(value: Any) -> str:
    """A leaf as the command line would write it, which is how MLflow shows it."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _fitted(text: str, limit: int) -> str:
    """Text within MLflow's limit; a digest stands for what was cut off, so that two different ones stay different."""
    if len(text) <= limit:
        return text
    return f"{text[: limit - 24]}… sha256:{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def fitted_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags within MLflow's limit; a sweep's definition is spread over ``ablate.sweep``, ``ablate.sweep.2``, …"""
    out = {key: _fitted(value, _TAG_LIMIT) for key, value in tags.items()}
    definition = tags.get(DEFINITION, "")
    for number, start in enumerate(range(0, len(definition), _TAG_LIMIT), 1):
        out[DEFINITION if number == 1 else f"{DEFINITION}.{number}"] = definition[start : start + _TAG_LIMIT]
    return out


def in_batches(params: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Parameters as text within MLflow's limits, as many at a time as one call takes."""
    entries = [(key, _fitted(param_text(value), _PARAM_LIMIT)) for key, value in params.items()]
    for start in range(0, len(entries), _PER_BATCH):
        yield dict(entries[start : start + _PER_BATCH])


def tag_filter(tags: Mapping[str, str]) -> str:
    """MLflow's search expression for runs that have these tags."""
    return " and ".join(f"{TAG_COLUMN}`{key}` = '{value}'" for key, value in tags.items())


def serves(study: str) -> str:
    """Tag of a run that counts for a point of this study as well, to which it does not belong."""
    return f"{SERVES}{study}"


def redrawn(study: str) -> str:
    """Tag of a run whose levels further trials of this search drew again."""
    return f"{REDRAWN}{study}"


def noted(before: str | None, trial: int) -> str:
    """The text of a ``redrawn`` tag with one trial more; as before, where MLflow would cut the longer one off."""
    text = json.dumps(sorted({*json.loads(before or "[]"), trial}))
    return text if len(text) <= _TAG_LIMIT else before or "[]"


def redraws(point: str, told: object) -> list[str]:
    """The points that drew what ``point`` had drawn, by what the ``redrawn`` tag of its run tells; None tells none."""
    trials = json.loads(told) if isinstance(told, str) else ()
    levels = json.loads(point)
    return [
        json.dumps([[axis, trial if axis == "trial" else level] for axis, level in levels], separators=(",", ":"))
        for trial in trials
    ]


def shown_in(study: str | None, point: str | None) -> dict[str, str]:
    """Tags by which the study's view finds a run and groups it."""
    if study is None or point is None or not point.startswith("["):  # a point that lists no levels
        return {}
    levels = {axis: level for axis, level in json.loads(point) if axis not in ("seed", "repeat", "trial")}
    return {f"{SHOWN}{study}": RUN} | {f"{LEVEL}{axis}": param_text(level) for axis, level in levels.items()}
