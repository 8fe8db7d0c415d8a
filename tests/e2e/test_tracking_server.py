"""What needs other processes: a real MLflow server, and several that make one database at once."""

import json
import math
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from ablate.report import report_study
from ablate.tracking import Store, TrackingSpec, list_studies, read_curves, read_runs
from tests import servers
from tests.e2e.test_cli import ablate

pytestmark = pytest.mark.full

PASSWORD = "hunter22"


@contextmanager
def _server(folder: Path, *arguments: str) -> Iterator[str]:
    """A server on a free port of this machine; yields its address when it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "mlflow", *arguments, "--host", "127.0.0.1", "--port", address.split(":")[1]]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(address, process, folder / "server.log")
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _wait(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://{address}/health", timeout=2).close()
            return
        except OSError:
            time.sleep(0.2)  # polls a process that cannot call us
    raise AssertionError(log.read_text())


def _record(where: TrackingSpec) -> str:
    store = Store(where)
    definition = {"name": "pe", "question": "?", "axes": {"model": ["a"]}, "seeds": [0, 1], "points": 2}
    parent = store.sweep_run("pe-1", {"ablate.sweep": json.dumps(definition)})
    assert store.sweep_run("pe-1", {}) == parent
    for seed in (0, 1):
        point = json.dumps([["model", "a"], ["seed", seed]], separators=(",", ":"))
        tags = {"ablate.study": "pe-1", "ablate.point": point}
        dead = store.start_run("dead", {}, tags, parent=parent)
        store.abandon(parent, point)
        assert store._client.get_run(dead.run_id).info.status == "KILLED"
        writer = store.start_run("a", {"train.epochs": 1, "long": "x" * 9000}, tags, parent=parent)
        for step in (1, 2):
            writer.log({"val/loss": 1.0 / step}, step=step)
        writer.artifact("report/config.yaml", "seed: 0\n")
        writer.log({"final.test_top1_percent": 50.0 + seed})
        writer.finish("finished")
    return writer.run_id


def test_a_server_holds_the_same_record_as_a_database(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    database = f"sqlite:///{tmp_path / 'server.db'}"
    with _server(tmp_path, "server", "--backend-store-uri", database, "--workers", "1") as address:
        where = TrackingSpec(uri=f"http://me:{PASSWORD}@{address}")
        run_id = _record(where)
        frame, direct = read_runs(where), read_runs(TrackingSpec(uri=database))
        pd.testing.assert_frame_equal(frame[sorted(frame)], direct[sorted(direct)])
        assert len(read_runs(where, study="pe-1")) == 5
        assert read_runs(TrackingSpec(uri=where.uri, experiment="none")).empty
        assert list_studies(where, "pe")[0].finished == 2
        assert list(read_curves(where, [run_id], "val/loss")["value"]) == [1.0, 0.5]
        text = report_study(where, "pe", full=True)
        assert _artifact(address, run_id) == "seed: 0\n"
    assert f"open http://me:***@{address}/#/experiments/1" in text
    assert "50.50 ± 6.35" in text
    shown = capfd.readouterr()
    assert PASSWORD not in text + shown.out + shown.err


def _artifact(address: str, run_id: str) -> str:
    query = urllib.parse.urlencode({"run_id": run_id, "path": "report/config.yaml"})
    with urllib.request.urlopen(f"http://{address}/get-artifact?{query}", timeout=20) as answer:
        return str(answer.read().decode())


def test_the_ui_command_opens_runs_and_artifacts_of_a_database(tmp_path: Path, new_store: Callable[[], str]) -> None:
    uri = new_store()
    run_id = _record(TrackingSpec(uri=uri))
    with _server(tmp_path, "ui", "--backend-store-uri", uri, "--workers", "1") as address:
        assert _artifact(address, run_id) == "seed: 0\n"


def test_processes_that_make_one_database_at_once_all_write(tmp_path: Path) -> None:
    code = (
        "from ablate.tracking import Store, TrackingSpec\n"
        f"store = Store(TrackingSpec(uri='sqlite:///{tmp_path / 'new' / 'mlflow.db'}'))\n"
        "parent = store.sweep_run('pe-1', {'ablate.sweep': '{}'})\n"
        "store.start_run('x', {}, {'ablate.study': 'pe-1'}, parent=parent).finish('finished')\n"
    )
    workers = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [worker.communicate(timeout=200)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0], errors
    frame = read_runs(TrackingSpec(uri=f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"))
    assert list(frame["tags.ablate.role"]).count("sweep") == 1
    assert list(frame["tags.ablate.role"]).count("run") == 3


def test_ten_thousand_runs_are_read_whole(new_store: Callable[[], str]) -> None:
    uri, runs = new_store(), 10_000
    Store(TrackingSpec(uri=uri)).sweep_run("pe-1", {"ablate.sweep": "{}"})
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as connection:
        _fill(connection, runs)
    frame = read_runs(TrackingSpec(uri=uri), study="pe-1")
    assert frame.shape[0] == runs + 1
    assert frame["params.model.x29"].notna().sum() == runs


def _fill(connection: sqlite3.Connection, runs: int) -> None:
    (experiment,) = connection.execute("select experiment_id from experiments where name = 'ablate'").fetchone()
    ids = [f"{number:032x}" for number in range(runs)]
    connection.executemany(
        "insert into runs (run_uuid, experiment_id, status, lifecycle_stage, start_time) "
        "values (?, ?, 'FINISHED', 'active', 1)",
        [(run_id, experiment) for run_id in ids],
    )
    entries = {"params": 30, "tags": 15, "latest_metrics": 18}
    for table, count in entries.items():
        extra = (", timestamp, step, is_nan", ", 1, 1, 0") if table == "latest_metrics" else ("", "")
        connection.executemany(
            f"insert into {table} (run_uuid, key, value{extra[0]}) values (?, ?, ?{extra[1]})",
            [(run_id, f"model.x{key}", "1") for run_id in ids for key in range(count)],
        )
    connection.executemany(
        "insert into tags (run_uuid, key, value) values (?, 'ablate.study', 'pe-1')", [(run_id,) for run_id in ids]
    )


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_provenance_outside_the_checkout_names_the_users_own_commit(tmp_path: Path) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    package = tmp_path / "site" / "ablate"
    shutil.copytree(Path(__file__).parents[2] / "ablate", package)
    code = "import ablate.provenance as p; print(p.provenance()['mlflow.source.git.commit'])"
    environment = {**os.environ, "PYTHONPATH": str(package.parent)}
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert out.stdout == head.stdout


# ---------------------------------------------------------------------------------------------- a server that goes away


def _histories(where: TrackingSpec, metric: str) -> dict[str, list[tuple[int, float]]]:
    frame = read_runs(where)
    names = dict(zip(frame["run_id"], frame["tags.mlflow.runName"], strict=True))
    curves = read_curves(where, frame["run_id"], metric)
    found: dict[str, list[tuple[int, float]]] = {name: [] for name in names.values()}
    for run_id, step, value in curves.itertuples(index=False):
        found[names[run_id]].append((step, value))
    return found


def test_what_was_logged_while_the_server_was_away_arrives_once(tmp_path: Path) -> None:
    with servers.mlflow_server(tmp_path) as (server, address):
        where = TrackingSpec(uri=address, spool=str(tmp_path / "spool"))
        store = Store(where)
        before = store.start_run("before", {"train.epochs": 3}, {"ablate.study": "s"})
        before.log({"val/loss": 1.0}, step=1)
        server.stop()
        before.log({"val/loss": 0.5, "nan": math.nan}, step=2)
        meanwhile = store.start_run("meanwhile", {"long": "x" * 9000}, {"ablate.study": "s"}, parent=before.run_id)
        meanwhile.log({"val/loss": 0.25}, step=1)
        meanwhile.artifact("tables/a.md", "kept\n")
        with meanwhile.local_artifact("model") as folder:
            folder.mkdir()
            (folder / "weights").write_bytes(b"w")
        meanwhile.finish("finished")
        assert len(list((tmp_path / "spool").iterdir())) == 2
        server.start()
        after = store.start_run("after", {}, {})  # the next run delivers what a finished one left
        assert after.run_id
        before.log({"val/loss": 0.1}, step=3)
        before._again = 0.0  # as if its time to look again had come
        before.finish("diverged", reason="nan")
        assert not [path for path in (tmp_path / "spool").iterdir() if (path / "said.jsonl").exists()]
        frame = read_runs(where).set_index("tags.mlflow.runName")
        assert _histories(where, "val/loss") == {
            "before": [(1, 1.0), (2, 0.5), (3, 0.1)],
            "meanwhile": [(1, 0.25)],
            "after": [],
        }
        assert list(frame.loc[["before", "meanwhile"], "tags.ablate.status"]) == ["diverged", "finished"]
        assert list(frame.loc[["before", "meanwhile"], "status"]) == ["FINISHED", "FINISHED"]
        assert frame.loc["meanwhile", "params.long"].startswith("xxx")
        assert (
            frame.loc["meanwhile", "end_time"] < frame.loc["after", "start_time"]
        )  # when it ended, not when it was told
        query = urllib.parse.urlencode({"run_id": frame.loc["meanwhile", "run_id"], "path": "model/weights"})
        with urllib.request.urlopen(f"{address}/get-artifact?{query}", timeout=20) as answer:
            assert answer.read() == b"w"


def test_sync_delivers_what_a_killed_process_left(tmp_path: Path) -> None:
    with servers.mlflow_server(tmp_path) as (server, address):
        where = TrackingSpec(uri=address, spool=str(tmp_path / "mlflow-spool"))
        code = (
            "import os, signal\n"
            "from ablate.tracking import Store, TrackingSpec\n"
            f"writer = Store(TrackingSpec(uri={address!r})).start_run('killed', {{}}, {{}})\n"
            "print('open', flush=True); input()\n"
            "writer.log({'x': 1.0}, step=1); writer.log({'x': 2.0}, step=2)\n"
            "print('said', flush=True); input()\n"
        )
        worker = subprocess.Popen(
            [sys.executable, "-c", code], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert worker.stdin and worker.stdout
        assert worker.stdout.readline() == "open\n"
        server.stop()
        worker.stdin.write("go\n")
        worker.stdin.flush()
        assert worker.stdout.readline() == "said\n"
        server.start()
        assert Store(where).deliver().told == 0  # its process lives, and will tell it itself
        worker.kill()
        worker.wait()
        result = ablate("sync", f"tracking.uri={address}", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert "delivered 1 runs" in result.stdout
        assert _histories(where, "x") == {"killed": [(1, 1.0), (2, 2.0)]}
        again = ablate("sync", f"tracking.uri={address}", cwd=tmp_path)
        assert "delivered 0 runs to the tracking store; 0 wait" in again.stdout
