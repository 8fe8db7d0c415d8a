"""A study's shared view in the MLflow UI: which runs it filters, which columns it shows, what it groups by."""

import itertools
from collections.abc import Mapping
from typing import Any

from ablate.tracking.names import LEVEL, MACS, METRIC_COLUMN, PARAMS, RUN, SHOWN, TAG_COLUMN, TEST_TOP1, VAL_TOP1
from ablate.tracking.tags import param_text, tag_filter

_WIDTHS = {"attributes.`Run Name`": 480, "metrics": 190, "tags": 150}
_SHOWN_METRICS = (TEST_TOP1, VAL_TOP1, PARAMS, MACS)


def view_state(study: str, definition: Mapping[str, Any]) -> dict[str, Any]:
    """What the MLflow UI keeps of a shared view (read from the UI of 3.17.2; an older or newer one may differ).

    Args:
        study: Name of the study.
        definition: What the sweep records: ``axes``, and ``combinations`` of their levels.
    """
    axes = list(definition["axes"])
    levels = [f"{LEVEL}{axis}" for axis in axes]
    columns = [*(f"{METRIC_COLUMN}`{name}`" for name in _SHOWN_METRICS), *(f"{TAG_COLUMN}`{name}`" for name in levels)]
    name, *_ = _WIDTHS
    widths = {column: _WIDTHS[column.partition(".")[0]] for column in columns} | {name: _WIDTHS[name]}
    state = {
        "searchFilter": tag_filter({f"{SHOWN}{study}": RUN}),
        "orderByKey": f"{METRIC_COLUMN}`{_SHOWN_METRICS[0]}`",
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": [name, *columns],
        "columnWidths": widths,
        "runsHiddenMode": "SHOW_ALL",
        "useGroupedValuesInCharts": True,
    }
    if "searched" in definition:  # each trial is a combination of its own
        return state
    keys = [{"mode": "tag", "groupByData": level} for level in levels]
    cells = definition.get("combinations") or itertools.product(*definition["axes"].values())
    groups = (",".join(f"tag.{key}.{param_text(at)}" for key, at in zip(levels, cell, strict=True)) for cell in cells)
    grouped = {"aggregateFunction": "average", "groupByKeys": keys}
    return state | {"groupBy": grouped, "groupsExpanded": dict.fromkeys(groups, False)}
