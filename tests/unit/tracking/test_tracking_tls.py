"""A tracking server behind TLS: ours asks it as MLflow's own client does, by the same variables."""

import datetime
import ipaddress
import ssl
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ablate.tracking import TrackingError
from ablate.tracking.client import client_class
from ablate.tracking.uris import probe_server

VARIABLES = (
    "MLFLOW_TRACKING_INSECURE_TLS",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "MLFLOW_TRACKING_CLIENT_CERT_PATH",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
)


class _Answers(BaseHTTPRequestHandler):
    """As much of MLflow's server as is asked here: whether it is there, and an experiment that is not."""

    paths: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.paths.append(self.path)
        there = self.path.endswith("/health")
        content = b"OK" if there else b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}'
        self.send_response(200 if there else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@dataclass(frozen=True)
class _Certified:
    """Where a server answers, and the file with its own certificate, and with its key beside."""

    uri: str
    authority: Path
    key: Path


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Signed by nobody but itself, for 127.0.0.1; then the same with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "records")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    alone, both = folder / "certificate.pem", folder / "both.pem"
    alone.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    both.write_bytes(alone.read_bytes() + key.private_bytes(*form))
    return alone, both


def _serving(server: ThreadingHTTPServer, uri: str, files: tuple[Path, Path]) -> Iterator[_Certified]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield _Certified(f"{uri}:{server.server_address[1]}", *files)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _tls(folder: Path, *, asks_back: bool) -> Iterator[_Certified]:
    files = _certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1])
    if asks_back:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(files[0])
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who hangs up is no news
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    yield from _serving(server, "https://127.0.0.1", files)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Certified]:
    """One whose certificate no system knows."""
    yield from _tls(tmp_path_factory.mktemp("tls"), asks_back=False)


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Certified]:
    """One that asks for the client's certificate as well."""
    yield from _tls(tmp_path_factory.mktemp("strict"), asks_back=True)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def _mlflow_gets_through(uri: str) -> bool:
    try:
        return client_class()(tracking_uri=uri).get_experiment_by_name("none") is None
    except Exception:
        return False


@pytest.mark.parametrize("variable", [None, *VARIABLES[:2], *VARIABLES[3:5]])
def test_a_server_is_reached_by_the_variables_by_which_mlflow_reaches_it(
    server: _Certified, monkeypatch: pytest.MonkeyPatch, variable: str | None
) -> None:
    if variable is not None:
        monkeypatch.setenv(variable, "true" if "INSECURE" in variable else str(server.authority))
    assert _mlflow_gets_through(server.uri) == (variable is not None)
    if variable is not None:
        probe_server(server.uri)
        return
    with pytest.raises(
        TrackingError, match=r"certificate verify failed: self.signed.*set MLFLOW_TRACKING_SERVER_CERT_PATH"
    ) as caught:
        probe_server(server.uri.replace("//", "//me:s3cret@"))
    assert "s3cret" not in str(caught.value) and "\n" not in str(caught.value)


def test_who_wants_no_proof_of_a_server_is_not_warned_at_every_request(
    server: _Certified, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert _mlflow_gets_through(server.uri)
        probe_server(server.uri)
    assert not [str(each.message) for each in heard if "HTTPS" in str(each.message)]


def test_a_certificates_file_beside_no_proof_is_refused_in_one_sentence(
    server: _Certified, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(server.authority))
    with pytest.raises(TrackingError, match=r"both are set: unset one of them\.$"):
        probe_server(server.uri)


def test_a_server_that_asks_for_a_certificate_gets_it(
    strict_server: _Certified, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(strict_server.authority))
    assert not _mlflow_gets_through(strict_server.uri)
    with pytest.raises(TrackingError, match="must answer, but"):
        probe_server(strict_server.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_CLIENT_CERT_PATH", str(strict_server.key))
    assert _mlflow_gets_through(strict_server.uri)
    probe_server(strict_server.uri)


@pytest.mark.parametrize("variable", [*VARIABLES[1:4]])
def test_a_certificate_that_is_not_there_is_one_sentence(
    server: _Certified, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    if "CLIENT" in variable:
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(server.authority))
    monkeypatch.setenv(variable, "/nowhere/a.pem")
    with pytest.raises(TrackingError, match=rf"/nowhere/a\.pem.*check .*{variable}"):
        probe_server(server.uri)


def test_a_server_is_asked_through_the_proxy_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    for server in _serving(proxy, "http://127.0.0.1", (Path(), Path())):
        monkeypatch.setenv("HTTP_PROXY", server.uri)
        probe_server("http://records.invalid:5000/under/")
        assert _Answers.paths[-1] == "http://records.invalid:5000/under/health"
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        probe_server(server.uri)
        assert _Answers.paths[-1] == "/health"
