"""Settings of tracking: which store and which experiment are in force."""

import pytest

from ablate.tracking import Store, TrackingSpec, read_runs
from tests.stores import start_run, where_at


def test_the_uri_comes_from_the_setting_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert TrackingSpec().resolved_uri() == "sqlite:///mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert TrackingSpec().resolved_uri() == "http://127.0.0.1:1"
    assert TrackingSpec(uri="sqlite:///x.db").resolved_uri() == "sqlite:///x.db"


def test_the_experiment_comes_from_the_setting_then_the_environment(
    store_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert TrackingSpec().resolved_experiment() == "ablate"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "7")  # as MLflow sets it in a notebook's processes
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "of the lab")
    start_run(Store(where_at(store_uri)))
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    assert read_runs(where_at(store_uri)).empty
    assert len(read_runs(TrackingSpec(uri=store_uri, experiment="of the lab"))) == 1
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    assert TrackingSpec(experiment="mine").resolved_experiment() == "mine"
