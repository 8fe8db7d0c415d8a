"""Runs in tracking stores, as tests of writing and reading them begin."""

import json
import math
from typing import Any

from ablate.tracking import RunWriter, Store, TrackingSpec

SECRET = "s3cr%40t-word"
"""A password as a URI spells it."""


def where_at(uri: str) -> TrackingSpec:
    """A store that is opened at this URI, and all else as it is by default."""
    return TrackingSpec(uri=uri)


def start_sweep(store: Store, study: str = "pe-1", name: str = "pe", **more: Any) -> str:
    """The parent run of a study of two points."""
    definition = {"name": name, "axes": {"model": ["a", "b"]}, "seeds": [0], "points": 2, **more}
    return store.sweep_run(study, {"ablate.sweep": json.dumps(definition)})


def start_run(store: Store, point: str = "p", params: dict[str, Any] | None = None, **options: Any) -> RunWriter:
    """A run of the study ``pe-1``, open."""
    return store.start_run(point, params or {}, {"ablate.study": "pe-1", "ablate.point": point}, **options)


def entries() -> list[dict[str, Any]]:
    """What a journal holds of a run that finished."""
    return [
        {"kind": "params", "params": {"a": "1"}, "time": 5},
        {"kind": "metrics", "metrics": {"x": 1.0, "nan": math.nan}, "step": 1, "time": 5},
        {"kind": "metrics", "metrics": {"x": 2.0}, "step": 2, "time": 6},
        {"kind": "tags", "tags": {"ablate.status": "finished"}, "time": 7},
        {"kind": "finish", "status": "FINISHED", "time": 7},
    ]
