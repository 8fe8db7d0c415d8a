"""MLflow's own UI on a finished sweep, opened by the link that the sweep prints."""

import itertools
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
import urllib.parse
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

from ablate.report import report_study
from ablate.report.sources.records import Records
from ablate.report.sources.studies import to_store
from ablate.tracking import TrackingSpec, read_runs
from tests.e2e.chromium import browser

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
def where(tmp_path_factory):
    """A store with the study."""
    folder = tmp_path_factory.mktemp("ui")
    spec = TrackingSpec(uri=f"sqlite:///{folder}/mlflow.db", spool=str(folder / "spool"))
    assert to_store(study(), spec) == 12
    yield spec
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def link(where):
    """The page that ``report`` names, at a real ``mlflow ui``."""
    folder = Path(where.spool).parent
    page = re.search(r"then open http://127.0.0.1:5000(/#\S+)", report_study(where, "pe_made", full=True))
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


def _opened(chromium, address, errors, *, height=760):
    """A tab with the runs by the printed link."""
    tab = chromium.new_page(viewport={"width": 1600, "height": height})
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(address)
    tab.locator(".ag-row").first.wait_for(timeout=120_000)
    for closer in tab.get_by_role("button", name=re.compile("close", re.I)).all():  # an assistant's panel
        closer.click()
    return tab


def test_mlflow_ui_shows_groups_with_means_by_the_printed_link(link, tmp_path):
    with browser() as chromium:
        errors = []
        tab = _opened(chromium, link, errors)
        for container in (".ag-pinned-left-cols-container", ".ag-center-cols-container"):
            tab.locator(f"{container} .ag-row").nth(len(MEANS) - 1).wait_for(timeout=60_000)
        for mean in MEANS.values():
            tab.get_by_text(f"{mean} (average)").first.wait_for(timeout=60_000)
        tab.wait_for_timeout(1500)  # columns move to their places, for the picture
        tab.screenshot(path=tmp_path / "mlflow-ui.png")
        names = _cells(tab, ".ag-pinned-left-cols-container")
        values = _cells(tab, ".ag-center-cols-container")
        said = tab.inner_text("body")
        assert errors == []
        assert "12 matching runs" in said and "does not exist" not in said
        assert len(names) == len(values) == 4, said
        for (model, pe), mean in MEANS.items():
            mine = [index for index, name in names.items() if model in name and f"positional: {pe}" in name]
            assert len(mine) == 1 and f"{mean} (average)" in values[mine[0]], (names, values)


def test_mlflow_uis_chart_view_draws_each_groups_curves(link, tmp_path):
    with browser() as chromium:
        errors = []
        tab = _opened(chromium, link, errors, height=1300)
        tab.locator("label:has(input[name=runs-view-mode][value=CHART])").click()
        tab.get_by_text("level.model: cct_2_3x2, level.model.positional: none (val/top1_percent)").wait_for(
            timeout=60_000
        )
        lines = tab.locator(".js-plotly-plot .scatterlayer path.js-line")
        lines.nth(2 * len(MEANS) - 1).wait_for(state="attached", timeout=60_000)  # names come before their curves
        said = tab.inner_text("body")
        tab.screenshot(path=tmp_path / "mlflow-chart.png")
        assert errors == [] and "12 matching runs" in said
        for (model, pe), metric in itertools.product(MEANS, ("train/loss", "val/top1_percent")):
            assert f"level.model: {model}, level.model.positional: {pe} ({metric})" in said


def test_mlflow_uis_compare_page_shows_what_differs_and_the_metrics(link, where, tmp_path):
    names = ["cct_2_3x2 learnable 0", "cct_2_3x2 none 0", "vit_2_4 none 0"]
    ids = read_runs(where).set_index("tags.mlflow.runName")["run_id"]
    with browser() as chromium:
        errors = []
        tab = _opened(chromium, link, errors, height=2400)
        listed = urllib.parse.quote(json.dumps([ids[name] for name in names]))
        address, _, page = link.partition("/#/experiments/")
        experiments = urllib.parse.quote(json.dumps([page.partition("/")[0]]))
        tab.goto(f"{address}/#/compare-runs?runs={listed}&experiments={experiments}")
        tab.get_by_text("Comparing 3 Runs from 1 Experiment").wait_for(timeout=60_000)
        for late in ("final.test_top1_percent", "level.model.positional", "train.epochs"):
            tab.get_by_text(late, exact=True).first.wait_for(timeout=60_000)
        rows = [row.inner_text().split("\t") for row in tab.locator("tr").all()]
        tab.screenshot(path=tmp_path / "mlflow-compare.png")
        said = tab.inner_text("body")
        assert errors == []
        told = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}
        assert told["Run Name:"] == names
        assert told["level.model"] == ["cct_2_3x2", "cct_2_3x2", "vit_2_4"]
        assert told["level.model.positional"] == ["learnable", "none", "none"]
        assert told["train.epochs"] == ["4", "4", "4"]
        for metric in ("final.test_top1_percent", "final.val_top1_percent", "cost.params", "cost.macs"):
            assert metric in said
        assert all(value in said for value in ("91.9", "49.2", "280651", "208650"))


def _cells(tab, container):
    """Text of each row of a part of the grid, by the row's number."""
    rows = tab.locator(f"{container} .ag-row").all()
    return {row.get_attribute("row-index"): row.inner_text() for row in rows}
