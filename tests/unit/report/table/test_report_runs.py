"""Which runs belong to a study, and which attempt counts."""

import pandas as pd

from ablate.report.table.runs import attempts, counted
from tests.unit.report.tables import point, run


def test_attempts_take_a_run_that_mlflow_ended_as_ended() -> None:
    (ended,) = attempts(pd.DataFrame([run(point("a", "b", 0), outcome="running", status="KILLED")]))
    assert ended.outcome == "killed"


def test_counted_takes_the_latest_of_equal_attempts() -> None:
    at = point("a", "b", 0)
    runs = attempts(pd.DataFrame([run(at, 10.0), run(at, 20.0), run(at, outcome="failed")]))
    assert [one.value for one in counted(runs)] == [20.0]
