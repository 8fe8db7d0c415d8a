"""A sweep's best model, by validation, into MLflow's model registry."""

from typing import TYPE_CHECKING

from ablate import tracking
from ablate.identity import LEFT_OUT
from ablate.sweep.plan import Plan
from ablate.tracking import Store, TrackingError
from ablate.tracking.names import (
    DATA_DIGEST,
    FINISHED,
    MODEL_VAL_TOP1,
    PARAM_COLUMN,
    ROLE,
    RUN,
    STATUS,
    STUDY,
    VAL_TOP1,
    metric_column,
    param_column,
    tag_column,
)

if TYPE_CHECKING:
    import pandas as pd

VAL = metric_column(VAL_TOP1)
_DIGEST, _ROOT = tag_column(DATA_DIGEST), param_column("data.root")
_PLACES = {param_column(leaf) for leaf in LEFT_OUT}
_JUDGES = tuple(param_column(f"data.{name}") for name in ("source", "class_level", "val_fraction", "split_seed"))
"""Which images validate, and what they are called; the other settings of data change how they look, or what trains."""


def register_best(plan: Plan, store: Store) -> str:
    """Registers the best model of the sweep's finished runs; again, and nothing happens.

    Returns:
        For people: which model that is and under which name, or why there is none.
    """
    frame = tracking.read_runs(plan.config.tracking, study=plan.study)
    try:
        run_id = best(frame)
        value = float(frame.set_index("run_id")[VAL][run_id])
        told = {STUDY: plan.study, MODEL_VAL_TOP1: f"{value:.4f}"}
        made = store.register(run_id, plan.sweep.name, told)
    except TrackingError as error:  # all is trained and recorded: that counts for more
        return f"no model was registered: {error}"
    return f"best by validation ({value:.2f} %): run {run_id}, registered in MLflow as {made.uri}"


def best(frame: "pd.DataFrame") -> str:
    """Id of the finished run with the highest validation accuracy, the earliest of equals; never by the test set.

    Args:
        frame: A study's runs, in the columns of ``tracking.read_runs``.

    Raises:
        TrackingError: No run is finished and validated, or the runs were validated on different data.
    """
    of_run = ("run_id", "start_time", tag_column(ROLE), tag_column(STATUS), param_column("train.select"), VAL)
    of_data = (_DIGEST, _ROOT, *_JUDGES, *_settings(frame))
    runs = frame.reindex(columns=[*dict.fromkeys((*of_run, *of_data))])
    whole = runs[(runs[tag_column(ROLE)] == RUN) & (runs[tag_column(STATUS)] == FINISHED) & runs[VAL].notna()]
    honest = whole[whole[param_column("train.select")] != "test"]
    if honest.empty:
        raise TrackingError(
            "the best is chosen by validation accuracy, and no finished run has one (train.select=test counts as none)."
        )
    if differs := _incomparable(honest):
        raise TrackingError(f"the best is chosen on one data set and split, but {differs}.")
    ranked = honest.sort_values([VAL, "start_time"], ascending=[False, True], kind="stable")
    return str(ranked["run_id"].iloc[0])


def _settings(frame: "pd.DataFrame") -> list[str]:
    """The settings of a run's data, without the places that it lies in."""
    return [name for name in frame if name.startswith(param_column("data.")) and name not in _PLACES]


def _incomparable(runs: "pd.DataFrame") -> str:
    """Why validation accuracies of these runs say different things; nothing, where they say the same.

    Runs with the same settings have read the same data if its digest is the same. It names pixels and training images
    as well, so that it differs between settings (of the image's size, of how many train): there, and where a record is
    older than the digest, the folder is what there is to tell by.
    """
    for name in _JUDGES:
        if len(values := runs[name].dropna().unique()) > 1:
            return f"{name.removeprefix(PARAM_COLUMN)} is {' and '.join(sorted(map(str, values)))}"
    alike = runs.groupby(_settings(runs), dropna=False)[_DIGEST]
    if (most := int(alike.nunique().max())) > 1:
        return f"the images that were read under the same settings are of {most} contents, by their digest"
    if alike.ngroups == 1 and runs[_DIGEST].notna().all():
        return ""
    roots = runs[_ROOT].dropna().unique()
    because = "runs of different data settings share no digest" if alike.ngroups > 1 else "some have no data digest"
    return f"data.root is {' and '.join(sorted(roots))}, by which it is told since {because}" if len(roots) > 1 else ""
