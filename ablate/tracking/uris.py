"""URIs of stores: what kind they are, redacted for show, whether they answer, how to open them in the MLflow UI."""

import os
import re
import shlex
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from ablate.tracking.databases import ailment, complaint, ill_formed, remedy, sqlite_file
from ablate.tracking.spec import DEFAULT_URI, TrackingError, TrackingSpec

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_USERINFO = re.compile(r"(?P<scheme>\b[a-z][\w+.-]*://)(?P<info>[^\s'\"]*)@", re.IGNORECASE)
_WHOLE_USERINFO = re.compile(r"(?P<scheme>[a-z][\w+.-]*://)(?P<info>.*)@", re.IGNORECASE | re.DOTALL)
_FIELD = (
    r"([?&;](?:[\w.-]*(?:password|passwd|pwd|passphrase|token|secrets?|credentials?|signature|auth|authorization|"
    r"(?:api|access|secret|private|account)[_-]?key)|pass|key|sig)=)"
)
_WHOLE_FIELD = re.compile(rf"{_FIELD}[^&;]*", re.IGNORECASE)
_SECRET_FIELD = re.compile(rf"{_FIELD}[^&;\s'\"]*", re.IGNORECASE)


def redact(text: str) -> str:
    """Text with the passwords of all URIs in it replaced by ``***``.

    Where a URI ends is a guess in a text: a blank or a quote ends it. What is known to be one goes to ``redact_uri``.
    """
    return _SECRET_FIELD.sub(r"\1***", _USERINFO.sub(_hide, text))


def redact_uri(uri: str) -> str:
    """One URI, or a setting that should be one, with its password replaced by ``***``, whatever signs are in that."""
    return _WHOLE_FIELD.sub(r"\1***", _WHOLE_USERINFO.sub(_hide, uri))


def _hide(match: re.Match[str]) -> str:
    user, colon, _ = match["info"].partition(":")
    if colon:
        return f"{match['scheme']}{user}:***@"
    return f"{match['scheme']}***@" if _is_token(match) else match[0]


def _is_token(match: re.Match[str]) -> bool:
    return match["scheme"].lower().startswith("http")  # a database's user name alone is no secret


def redact_of(uri: str, text: str) -> str:
    """``redact``, and the URI's own password wherever it stands alone, as drivers may quote it."""
    found = _WHOLE_USERINFO.search(uri)
    user, colon, password = found["info"].partition(":") if found else ("", "", "")
    password = password if colon or not (found and _is_token(found)) else user
    fields = [field[0].removeprefix(field[1]) for field in _WHOLE_FIELD.finditer(uri)]
    secrets = {secret for plain in (password, *fields) for secret in (plain, unquote(plain))}
    for secret in sorted({*secrets, *(repr(secret)[1:-1] for secret in secrets)}, key=len, reverse=True):
        if len(secret) >= 4:  # shorter ones would blank out half of any text
            text = text.replace(secret, "***")
    return redact(text)


def error_of(uri: str, cause: BaseException) -> TrackingError:
    """What went wrong with a store, in one sentence, with what can be done."""
    words = ailment(uri, cause) if is_database(uri) else complaint(cause)
    advice = remedy(words, setting="tracking.uri", library="MLflow")
    told = redact_of(uri, words.splitlines()[0][:300]).rstrip(".")
    return TrackingError(f"the tracking store {redact_uri(uri)} must be usable, but: {told}; {advice}.")


@contextmanager
def guard(uri: str) -> Iterator[None]:
    """Turns whatever MLflow or a driver raises into a TrackingError: their messages may hold the URI.

    ``from None``: a chained traceback would print it all the same.
    """
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:
        raise error_of(uri, error) from None


def is_database(uri: str) -> bool:
    """Whether a URI is of a kind of database that MLflow keeps runs in, by its scheme."""
    return uri.split(":", 1)[0].split("+", 1)[0] in _DATABASES


def check(uri: str) -> None:
    """Refuses a store that cannot work, at once: MLflow would try for minutes, or write to a kind of its own choice.

    Raises:
        TrackingError: No URI of a database or a server.
    """
    reason = ill_formed(uri, _DATABASES) if is_database(uri) else _no_server(uri)
    if reason:
        raise TrackingError(
            f"tracking.uri must name a database or a server (sqlite:///mlflow.db, postgresql://…, http://…), "
            f"got {redact_uri(uri)}: {reason}."
        )


def _no_server(uri: str) -> str | None:
    """What keeps a URI from being a server's; kinds that plugins of MLflow bring are theirs to check."""
    scheme = uri.split(":", 1)[0] if ":" in uri else ""
    if scheme in ("http", "https"):
        try:
            parts = urlsplit(uri)
            return None if parts.hostname and parts.port != 0 else "it names no host"
        except ValueError:
            return "its host or port is none"
    known = ("databricks", "databricks-uc", "uc", *(each.name for each in entry_points(group="mlflow.tracking_store")))
    return None if scheme in known else "it is neither"


def check_form(tracking: TrackingSpec) -> None:
    """Refuses names under which nothing could be kept; nothing is opened or asked.

    Raises:
        TrackingError: The URI is none of a database or server, or the experiment's name is none.
    """
    if tracking.uri == "":
        raise TrackingError(f"tracking.uri must name a database or a server, got nothing; null takes {DEFAULT_URI}.")
    check(tracking.resolved_uri())
    name = tracking.resolved_experiment()
    if not name.strip() or not name.isprintable() or len(name.encode("utf-8", "replace")) > 250:
        raise TrackingError(
            f"tracking.experiment must be a printable name of 1 to 250 bytes, got {name[:60]!r} ({len(name)} letters)."
        )


def file_of(uri: str) -> Path | None:
    """The file of a SQLite URI; None for any other.

    Raises:
        TrackingError: The URI is none.
    """
    with guard(uri):
        return sqlite_file(uri)


def probe_server(uri: str) -> None:
    """One quick try at a server, as MLflow's client would ask it: with the same certificates and proxies.

    Raises:
        TrackingError: It does not answer.
    """
    if not uri.startswith(("http://", "https://")):
        return
    import requests

    check_tls()
    parts = urlsplit(uri)
    bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/") + "/health", "", ""))
    certificate = os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH")
    try:  # whatever it answers; whether it lets us in is for MLflow to find out
        requests.get(bare, timeout=10, verify=_verified_by(), cert=certificate, stream=True).close()
    except (OSError, ValueError) as error:
        words = redact_of(uri, str(_root(error))).rstrip(".")
        raise TrackingError(
            f"the tracking server {redact_uri(uri)} must answer, but: {words}; {_server_remedy(words)}."
        ) from None


def check_tls() -> None:
    """Refuses variables that contradict each other, and hushes what a user who wants no proof knows.

    Raises:
        TrackingError: A server's certificate is to be proved by a file, and not at all.
    """
    if not _is_insecure():
        return
    if os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH"):
        raise TrackingError(
            "a tracking server's certificate is proved by MLFLOW_TRACKING_SERVER_CERT_PATH or, by "
            "MLFLOW_TRACKING_INSECURE_TLS, not at all, but both are set: unset one of them."
        )
    warnings.filterwarnings("ignore", "Unverified HTTPS request")  # urllib3's, one for each request


def _is_insecure() -> bool:
    return os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")


def _verified_by() -> str | bool:
    """By which authorities a server's certificate is proved: a file's, the system's and REQUESTS_CA_BUNDLE's, none."""
    if path := os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH"):
        return path
    return not _is_insecure()


def _root(error: BaseException) -> BaseException:
    """What the network said, without the wrapping of two libraries."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _server_remedy(words: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in words:
        return (
            "set MLFLOW_TRACKING_SERVER_CERT_PATH or REQUESTS_CA_BUNDLE to a file with the certificate of the "
            "authority that signed the server's"
        )
    if "certificate" in words.lower():
        return (
            "check MLFLOW_TRACKING_SERVER_CERT_PATH, MLFLOW_TRACKING_CLIENT_CERT_PATH, REQUESTS_CA_BUNDLE and "
            "CURL_CA_BUNDLE"
        )
    return "start it, or set tracking.uri to another"


def ui_hint(tracking: TrackingSpec, experiment_id: str, view: str | None = None) -> str:
    """How to open the records in the MLflow UI: a command bound to this machine, or the server's own address.

    Args:
        tracking: Where the records are.
        experiment_id: In which experiment.
        view: What ``Store.share_view`` has shared; None shows all runs of the experiment.
    """
    chosen = f"/runs?viewStateShareKey={quote(view)}" if view else ""
    uri, page = tracking.resolved_uri(), f"/#/experiments/{experiment_id}{chosen}"
    if not is_database(uri):
        return f"open {redact_uri(uri).rstrip('/')}{page}"
    beside = Path(sys.executable).with_name("mlflow")
    on_path = shutil.which("mlflow")
    command = "mlflow" if on_path and Path(on_path).resolve() == beside.resolve() else _shown(beside)
    fill_in = " (fill in the password)" if redact_uri(uri) != uri else ""
    return (
        f"{command} ui --backend-store-uri {shlex.quote(redact_uri(uri))} --host 127.0.0.1 --port 5000{fill_in}, "
        f"then open http://127.0.0.1:5000{page}"
    )


def _shown(path: Path) -> str:
    """Relative to the working directory where that is shorter."""
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))
