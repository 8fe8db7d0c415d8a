"""Servers that a test starts on this machine: PostgreSQL, MLflow's. Each on a free port, each ended with its block."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_until(true: Callable[[], bool], seconds: float = 120) -> None:
    """Polls what cannot call us."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain")
        time.sleep(0.05)


class Server:
    """A process that can be stopped and started again on the same port."""

    def __init__(self, command: list[str], log: Path, ready: Callable[[], bool], stop: signal.Signals, **how: Any):
        self._command, self._log, self._ready, self._stop, self._how = command, log, ready, stop, how
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True, **self._how)
        process = self._process
        wait_until(lambda: self._ready() or process.poll() is not None)
        if process.poll() is not None:
            raise AssertionError(self._log.read_text("utf-8", "replace"))

    def stop(self) -> None:
        if self._process is None:
            return
        if self._stop == signal.SIGTERM:
            with suppress(ProcessLookupError):  # it ended by itself, and its log says why
                os.killpg(self._process.pid, signal.SIGTERM)
        else:
            self._process.send_signal(self._stop)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)
        self._process = None


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=2).close()
        return True
    except OSError:
        return False


@contextmanager
def mlflow_server(folder: Path, *arguments: str) -> Iterator[tuple[Server, str]]:
    """``mlflow server`` over ``folder/server.db``, or over what the arguments say; yields it and its address."""
    port = free_port()
    store = arguments or ("--backend-store-uri", f"sqlite:///{folder / 'server.db'}")
    command = [sys.executable, "-m", "mlflow", "server", *store, "--workers", "1"]
    address = f"http://127.0.0.1:{port}"
    server = Server(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        folder / "server.log",
        lambda: answers(f"{address}/health"),
        signal.SIGTERM,
        cwd=folder,
    )
    server.start()
    try:
        yield server, address
    finally:
        server.stop()


def _postgres_bin() -> Path:
    found = shutil.which("initdb") or max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=None)
    if found is None:
        pytest.skip("PostgreSQL's server (Debian's package postgresql) is not installed")
    return Path(found).resolve().parent


@contextmanager
def postgres() -> Iterator[tuple[Server, str]]:
    """A new cluster; yields it and the URL of its database ``postgres``. Never run as root, which it refuses."""
    programs, port = _postgres_bin(), free_port()
    folder = Path(tempfile.mkdtemp(prefix="ablate-pg-"))
    how: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
        how |= {"user": "nobody", "extra_groups": []}
    data = folder / "data"
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "ablate", "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8"],
        check=True, capture_output=True, **how,
    )  # fmt: skip
    options = {"fsync": "off", "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "200"}
    command = [str(programs / "postgres"), "-D", str(data), "-p", str(port)]
    command += [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
    url = f"postgresql+psycopg://ablate:hunter22@127.0.0.1:{port}/postgres"
    server = Server(command, folder / "log", lambda: _accepts(url), signal.SIGINT, **how)
    server.start()
    try:
        yield server, url
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _accepts(url: str) -> bool:
    psycopg = pytest.importorskip("psycopg")
    try:
        psycopg.connect(url.replace("+psycopg", ""), connect_timeout=2).close()
        return True
    except psycopg.OperationalError:
        return False


def new_database(url: str, name: str) -> str:
    """Makes a database in the cluster; returns its URL."""
    import psycopg

    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return url.rpartition("/")[0] + f"/{name}"
