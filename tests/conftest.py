"""What every test stands on: no network, no tracking store but its own, quiet libraries."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Before any test module imports them, and for every process that a test starts.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["GIT_OPTIONAL_LOCKS"] = "0"
for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID"):
    os.environ.pop(variable, None)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches beyond this machine fails where it does so, and everywhere alike."""
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "localhost", "::1"):
            raise AssertionError(f"a test must not use the network, but connects to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_here)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference numbers beside the checkout, which is no part of it."""
    folder = Path(__file__).parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip("../shared, with the official code's numbers, is not here")
    return folder


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without experiments of ours, made once: its migrations take seconds."""
    from ablate.tracking import Store, TrackingSpec

    folder = tmp_path_factory.mktemp("mlflow")
    Store(TrackingSpec(uri=f"sqlite:///{folder / 'mlflow.db'}", experiment="template"))
    return folder / "mlflow.db"


@pytest.fixture
def new_store(mlflow_template: Path, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Makes tracking URIs of fresh SQLite stores below the test's own folder."""
    made = 0

    def make() -> str:
        nonlocal made
        made += 1
        folder = tmp_path / f"store{made}"
        folder.mkdir()
        shutil.copy(mlflow_template, folder / "mlflow.db")
        return f"sqlite:///{folder / 'mlflow.db'}"

    yield make


@pytest.fixture
def write_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes sweeps/NAME.yaml in a working directory of the test's own; gives the file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()

    def write(text: str, name: str = "mine") -> Path:
        file = tmp_path / "sweeps" / f"{name}.yaml"
        file.write_text(text, "utf-8")
        return file

    return write


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL cluster of this session; the test is skipped where there is none."""
    from tests import servers

    with servers.postgres() as (_, url):
        yield url


@pytest.fixture
def store_uri(new_store: Callable[[], str]) -> str:
    """One fresh SQLite store."""
    return new_store()
