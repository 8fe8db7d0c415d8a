"""Tags and parameters within MLflow's limits."""

import json

from ablate.tracking import Store, read_runs
from ablate.tracking.tags import noted
from tests.stores import start_run, where_at


def test_params_beyond_mlflows_limits_are_recorded_and_stay_apart(store_uri: str) -> None:
    store = Store(where_at(store_uri))
    many = {f"model.options.x{n}": n for n in range(250)}
    runs = [start_run(store, params={**many, "long": "x" * 9000 + end}).run_id for end in "ab"]
    frame = read_runs(where_at(store_uri)).set_index("run_id").loc[runs]
    assert list(frame["params.model.options.x249"]) == ["249", "249"]
    assert frame["params.long"].nunique() == 2
    assert frame["params.long"].str.len().max() <= 6000


def test_a_list_of_redrawn_trials_stays_whole() -> None:
    text = None
    for trial in range(2000):
        text = noted(text, trial)
    assert text is not None and len(text) <= 8000 and json.loads(text)[:1500] == list(range(1500))
