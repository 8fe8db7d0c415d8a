"""What a run carries besides its parameters (the spec's leaves, in YAML's words) and its metrics:

=======================  ============================================================================================
tag                      meaning
=======================  ============================================================================================
``ablate.role``          ``sweep`` for a study's parent run, ``run`` for what trains a model
``ablate.study``         the study that the run belongs to
``ablate.point``         the point within it, the same for every attempt at that point
``ablate.serves.…``      on a finished run: the point that it serves in another study, which the key ends in
``ablate.redrawn.…``     on a finished run of a search: the trials that drew the same again, and were not trained
``ablate.identity``      digest of all that can change the result
``ablate.settings``      the same without the data's content: what ``plan`` can tell before reading it
``ablate.cell``          digest of the settings without seeds and repeat: runs that differ by chance alone
``ablate.sweep``         on the parent: the sweep's definition as JSON
``level.…``              the run's level of an axis, which the key ends in: what the MLflow UI groups by
``ablate.shown.…``       marks the runs of a study, those that serve it among them, which the key ends in
``ablate.view``          on the parent: the key of the study's view in the MLflow UI
``ablate.tested``        how many test images there are, and a digest of which
``ablate.right``         which of them the run got right, a bit an image (``correctness``)
``ablate.levels``        of a search's run: what was drawn for it, as JSON
``ablate.status``        ``running``, ``finished``, ``diverged``, ``pruned``, ``failed``, ``killed``
                         or ``superseded`` (finished after another had taken the point over: counts nowhere)
``ablate.reason``        why it diverged, failed or was killed
``ablate.worker``        the process that trains it, or copies it from a file: its machine, number and time of birth
``ablate.attempt``       a name of our own for the run, from before MLflow has one for it
``ablate.imported``      ``true`` on what an import wrote: the parent it made, and each copy of a run
``ablate.imported.run``  the run's id in the store that had it first: of one that was imported, or made anew
=======================  ============================================================================================
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

MARK, FIRST, WORKER = "ablate.attempt", "ablate.imported.run", "ablate.worker"
OUTCOMES = ("finished", "diverged", "pruned")
"""Values of ``ablate.status`` by which a point is through."""
UNBORN = "waiting-"
"""How a run's name begins that MLflow has no id for yet; its mark follows."""

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
    definition = tags.get("ablate.sweep", "")
    for number, start in enumerate(range(0, len(definition), _TAG_LIMIT), 1):
        out["ablate.sweep" if number == 1 else f"ablate.sweep.{number}"] = definition[start : start + _TAG_LIMIT]
    return out


def in_batches(params: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    entries = [(key, _fitted(param_text(value), _PARAM_LIMIT)) for key, value in params.items()]
    for start in range(0, len(entries), _PER_BATCH):
        yield dict(entries[start : start + _PER_BATCH])


def serves(study: str) -> str:
    return f"ablate.serves.{study}"


def redrawn(study: str) -> str:
    return f"ablate.redrawn.{study}"


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
    return {f"ablate.shown.{study}": "run"} | {f"level.{axis}": param_text(level) for axis, level in levels.items()}
