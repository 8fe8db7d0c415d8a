"""From a real store to the table of a study."""

import json
import subprocess
import sys

import pytest

from ablate import tracking
from ablate.report import report_study
from ablate.tracking import Store, TrackingSpec
from tests.unit.report.tables import AXES, DEFINITION, point


def _record(uri: str, study: str, value: float) -> None:
    store = Store(TrackingSpec(uri=uri))
    parent = store.sweep_run(study, {"ablate.sweep": json.dumps({**DEFINITION, "seeds": [0], "points": 4})})
    for model in AXES["model"]:
        tags = {"ablate.study": study, "ablate.point": point(model, "none", 0)}
        writer = store.start_run(
            "x", {"train.epochs": 6, "data.source": "digits", "data.root": None}, tags, parent=parent
        )
        writer.log({"final.test_top1_percent": value, "cost.params": 10})
        writer.finish("finished")


def test_report_study_takes_the_latest_and_names_the_others(store_uri: str) -> None:
    _record(store_uri, "pe-old", 11.0)
    _record(store_uri, "pe-new", 22.0)
    where = TrackingSpec(uri=store_uri)
    text = report_study(where, "pe")
    assert "22.00" in text
    assert "11.00" not in text
    assert "study pe-new, started" in text
    assert "also of this name: pe-old" in text
    assert text.count("pe-new") == 1
    assert "2 of 4 points" in text
    full = report_study(where, "pe", full=True)
    assert "mlartifacts/ablate" in full and "mlartifacts/ablate" not in text
    assert "--host 127.0.0.1" in full and "--host" not in text
    old = report_study(where, "pe", study="pe-old")
    assert "11.00" in old
    assert "also of this name: pe-new" in old
    assert "11.00" in report_study(where, "pe-old", "md")


def test_report_study_of_an_unknown_name_lists_what_there_is(store_uri: str) -> None:
    with pytest.raises(ValueError, match="got 'pe'; it has none yet: run python -m ablate"):
        report_study(TrackingSpec(uri=store_uri), "pe")
    _record(store_uri, "pe-1", 1.0)
    with pytest.raises(ValueError, match=r"got 'pooling'; it has pe\."):
        report_study(TrackingSpec(uri=store_uri), "pooling")


def test_report_study_imports_neither_keras_nor_mlflow(store_uri: str) -> None:
    _record(store_uri, "pe-1", 1.0)
    code = (
        "import sys; from ablate.report import report_study; from ablate.tracking import TrackingSpec; "
        f"report_study(TrackingSpec(uri={store_uri!r}), 'pe'); "
        "print([m for m in ('keras', 'tensorflow', 'mlflow', 'optuna', 'scipy.stats') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "[]\n"


def test_report_study_shows_no_password() -> None:
    with pytest.raises(tracking.TrackingError) as caught:
        report_study(TrackingSpec(uri="http://me:hunter22@127.0.0.1:9"), "pe")
    assert "hunter22" not in str(caught.value)
