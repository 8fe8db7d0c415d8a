"""MLflow's own UI on a finished sweep, opened by the link that the sweep prints."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

from ablate.report import report_study
from ablate.report.records import Records
from ablate.report.studies import to_store
from ablate.tracking import TrackingSpec
from tests.e2e.chromium import browser, shot

pytestmark = pytest.mark.full

MEANS = {
    ("vit_2_4", "learnable"): 68,
    ("vit_2_4", "none"): 50,
    ("cct_2_3x2", "learnable"): 93,
    ("cct_2_3x2", "none"): 92,
}


def study(seeds=3):
    """Two models, two positional embeddings: what a sweep would have recorded."""
    rows, curves = [], {}
    for n, ((model, pe), mean) in enumerate(MEANS.items()):
        for seed in range(seeds):
            run = f"{n}{seed}" * 8
            value = mean + (seed - 1) * (0.5 + 0.3 * n)
            point = [["model", model], ["model.positional", pe], ["seed", seed]]
            rows.append(
                {
                    "run_id": run,
                    "status": "FINISHED",
                    "tags.ablate.point": json.dumps(point, separators=(",", ":")),
                    "tags.ablate.study": "pe_made-1",
                    "tags.ablate.status": "finished",
                    "tags.ablate.role": "run",
                    "tags.ablate.version.keras": "3.15.1",
                    "tags.ablate.cpu": "2 x made for a test",
                    "metrics.final.test_top1_percent": value,
                    "metrics.final.val_top1_percent": value + 1,
                    "metrics.final.seconds": 20.0 + 10 * (n > 1),
                    "metrics.cost.params": 280_651 if n > 1 else 208_650,
                    "metrics.cost.macs": 25_779_200 if n > 1 else 11_212_032,
                    "params.data.source": "mnist5k",
                    "params.train.epochs": "4",
                    "params.train.select": "best",
                }
            )
            curves[run] = {
                "val/top1_percent": [value * part for part in (0.5, 0.8, 0.95, 1.01)],
                "train/loss": [2.1, 1.5, 1.1, 1.0 - n / 10],
            }
    definition = {
        "name": "pe_made",
        "question": "Does a positional embedding matter? (made up for a test)",
        "axes": {"model": ["vit_2_4", "cct_2_3x2"], "model.positional": ["learnable", "none"]},
        "baseline": {"model": "vit_2_4", "model.positional": "learnable"},
        "combinations": [list(levels) for levels in MEANS],
        "method": "grid",
        "points": len(rows),
        "seeds": list(range(seeds)),
        "table": "",
    }
    return Records("pe_made-1", definition, "2026-01-01 12:00 UTC", pd.DataFrame(rows), curves, "a test")


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _answers(address, process, seconds=240):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=2).close()
            return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    return False


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    """The page that ``report`` names, at a real ``mlflow ui``."""
    folder = tmp_path_factory.mktemp("ui")
    where = TrackingSpec(uri=f"sqlite:///{folder}/mlflow.db", spool=str(folder / "spool"))
    assert to_store(study(), where) == 12
    page = re.search(r"then open http://127.0.0.1:5000(/#\S+)", report_study(where, "pe_made"))
    assert page is not None
    port, mlflow = _free_port(), Path(sys.executable).with_name("mlflow")
    command = [str(mlflow), "ui", "--backend-store-uri", where.resolved_uri(), "--host", "127.0.0.1", "--workers", "1"]
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)], cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        assert _answers(f"http://127.0.0.1:{port}", process), (folder / "log.txt").read_text()
        yield f"http://127.0.0.1:{port}{page[1]}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def test_mlflow_ui_shows_groups_with_means_by_the_printed_link(link, tmp_path):
    with browser() as chromium:
        tab = chromium.new_page(viewport={"width": 1600, "height": 760})
        errors = []
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.goto(link)
        tab.locator(".ag-row").first.wait_for(timeout=120_000)
        for closer in tab.get_by_role("button", name=re.compile("close", re.I)).all():  # an assistant's panel
            closer.click()
        tab.get_by_text("cct_2_3x2").first.wait_for(timeout=60_000)
        tab.wait_for_timeout(1500)  # columns move to their places
        shot(tab, "mlflow-ui.png", tmp_path)
        names = _cells(tab, ".ag-pinned-left-cols-container")
        values = _cells(tab, ".ag-center-cols-container")
        said = tab.inner_text("body")
        assert errors == []
        assert "12 matching runs" in said and "does not exist" not in said
        assert len(names) == len(values) == 4, said
        for (model, pe), mean in MEANS.items():
            mine = [index for index, name in names.items() if model in name and f"positional: {pe}" in name]
            assert len(mine) == 1 and f"{mean} (average)" in values[mine[0]], (names, values)


def _cells(tab, container):
    """Text of each row of a part of the grid, by the row's number."""
    rows = tab.locator(f"{container} .ag-row").all()
    return {row.get_attribute("row-index"): row.inner_text() for row in rows}
