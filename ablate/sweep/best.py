"""A sweep's best model, by validation, into MLflow's model registry."""

from typing import TYPE_CHECKING

from ablate import tracking
from ablate.sweep.plan import Plan
from ablate.tracking import Store, TrackingError

if TYPE_CHECKING:
    import pandas as pd

VAL = "metrics.final.val_top1_percent"
_DATA = ("params.data.source", "params.data.root")


def register_best(plan: Plan, store: Store) -> str:
    """Registers the best model of the sweep's finished runs; again, and nothing happens.

    Returns:
        For people: which model that is and under which name, or why there is none.
    """
    frame = tracking.read_runs(plan.config.tracking, study=plan.study)
    try:
        run_id = best(frame)
        value = float(frame.set_index("run_id")[VAL][run_id])
        told = {"ablate.study": plan.study, "ablate.val_top1_percent": f"{value:.4f}"}
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
    names = ("run_id", "start_time", "tags.ablate.role", "tags.ablate.status", "params.train.select", VAL, *_DATA)
    runs = frame.reindex(columns=[*names])
    whole = runs[(runs["tags.ablate.role"] == "run") & (runs["tags.ablate.status"] == "finished") & runs[VAL].notna()]
    honest = whole[whole["params.train.select"] != "test"]
    if honest.empty:
        raise TrackingError(
            "the best is chosen by validation accuracy, and no finished run has one (train.select=test counts as none)."
        )
    if len(sources := honest[list(_DATA)].drop_duplicates()) > 1:
        raise TrackingError(
            f"the best is chosen on one data set, got {len(sources)}, whose accuracies say different things."
        )
    ranked = honest.sort_values([VAL, "start_time"], ascending=[False, True], kind="stable")
    return str(ranked["run_id"].iloc[0])
