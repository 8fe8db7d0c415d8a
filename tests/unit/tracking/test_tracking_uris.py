"""URIs of stores: refused where they name none, redacted wherever they are shown, opened in the MLflow UI."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablate import tracking
from ablate.config.overrides import ConfigError
from ablate.config.schema import StudySpec
from ablate.report import ReportError
from ablate.report.sources import stored, studies
from ablate.tasks.classify import card
from ablate.tracking import Store, TrackingError, TrackingSpec, read_runs, redact, uris
from tests.stores import SECRET, start_run, start_sweep, where_at


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("postgresql+psycopg://me:pw@db:5432/x", "postgresql+psycopg://me:***@db:5432/x"),
        ("at https://me:p/w:@1@host/a, then", "at https://me:***@host/a, then"),
        ("https://token@host/", "https://***@host/"),
        ("postgresql://me@db/x", "postgresql://me@db/x"),
        ("postgresql://db/x?user=me&password=pw&sslmode=on", "postgresql://db/x?user=me&password=***&sslmode=on"),
        *(
            (f"http://h/?a=b&{name}=S3CRET/+x&c=d", f"http://h/?a=b&{name}=***&c=d")
            for name in (
                "access_token",
                "api_key",
                "apikey",
                "X-Api-Key",
                "secret",
                "client_secret",
                "credential",
                "auth",
                "credentials",
                "signature",
                "X-Amz-Signature",
                "sig",
                "sslpassword",
                "Authorization",
                "key",
            )
        ),
        ("http://h/?author=me&monkey=x&tokens=3&sslkey=a.pem", "http://h/?author=me&monkey=x&tokens=3&sslkey=a.pem"),
        ("mail me@host", "mail me@host"),
        ("'http://a:b@c' or http://d:e@f", "'http://a:***@c' or http://d:***@f"),
    ],
)
def test_redact_takes_out_passwords_alone(text: str, shown: str) -> None:
    assert redact(text) == shown


ODD = ["S3CRE'Tpw", 'S3CRE"Tpw', "S3CRE Tpw", "S3CRE\tT@p/w:?#", "S3CRE\nT"]


@pytest.mark.parametrize("password", ODD)
def test_redact_uri_takes_out_a_password_of_any_signs(password: str) -> None:
    for kind in ("http", "postgresql+psycopg"):
        assert uris.redact_uri(f"{kind}://me:{password}@h/x") == f"{kind}://me:***@h/x"
    assert uris.redact_uri(f"https://{password}@h/x") in ("https://***@h/x", "https://S3CRE\tT@p/w:***@h/x")
    assert uris.redact_uri(f"http://h/x?api_key={password.replace('@', '')}&a=b") == "http://h/x?api_key=***&a=b"
    for plain in ("sqlite:///it's a@b.db", "postgresql://it's me@db/x", "it's", "http://h/it's"):
        assert uris.redact_uri(plain) == plain


@pytest.mark.parametrize("password", ODD)
@pytest.mark.parametrize("uri", ["http://me:{}@127.0.0.1:nine/x", "postgresql://me:{}@127.0.0.1:nine/x"])
def test_a_setting_is_shown_without_a_password_of_any_signs(uri: str, password: str) -> None:
    with pytest.raises(TrackingError) as told:
        Store(where_at(uri.format(password)))
    with pytest.raises(ConfigError) as queue:
        StudySpec(uri.format(password).replace("postgresql", "mysql")).check()
    assert "S3CRE" not in str(told.value) + str(queue.value)
    assert "S3CRE" not in uris.redact_of(uri.format(password), f"cannot open {password!r} or {password}")


@pytest.mark.parametrize("use", [Store, read_runs])
@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("mlruns", "must name a database or a server"),
        ("file:///tmp/mlruns", "must name a database or a server"),
        ("sqlite://", "must name a database or a server"),
        (f"http://me:{SECRET}@127.0.0.1:9", "must answer"),
        (f"postgresql+nodriver://me:{SECRET}@127.0.0.1:9/x", "install the driver"),
        (f"postgresql://me:{SECRET}@127.0.0.1:nine/x", "must name a database or a server"),
        (f"http://me:{SECRET}@127.0.0.1:nine", "its host or port is none"),
        ("xxxx://somewhere", "must name a database or a server"),
    ],
)
def test_a_store_that_cannot_be_reached_is_one_sentence_without_passwords(
    use: Callable[[TrackingSpec], Any], uri: str, words: str
) -> None:
    with pytest.raises(TrackingError, match=words) as caught:
        use(where_at(uri))
    text = str(caught.value)
    assert "\n" not in text
    assert SECRET not in text
    assert "s3cr@t-word" not in text


@pytest.mark.parametrize("uri", ["postgresql://me:{}@h/x", "https://{}@h/x", "http://h/x?a=b&api_key={}"])
def test_an_error_that_quotes_the_password_alone_does_not_show_it(uri: str) -> None:
    uri = uri.format(SECRET)
    for quoted in (SECRET, "s3cr@t-word"):
        with pytest.raises(TrackingError, match=r"no entry for \*\*\*, me;") as caught, uris.guard(uri):
            raise RuntimeError(f"no entry for {quoted}, me\nat line 3")
        assert caught.value.__suppress_context__  # a traceback would print what it hides


def test_what_is_said_and_kept_of_a_store_hides_its_secret(store_uri: str, tmp_path: Path) -> None:
    address = f"sqlite:///file:{store_uri.removeprefix('sqlite:///')}?uri=true&api_key=S3CRE'T"
    where, hidden = TrackingSpec(uri=address, spool=str(tmp_path / "spool")), address.replace("S3CRE'T", "***")
    with pytest.raises(ReportError, match="needs a study that") as none:
        stored.choose(where, "pe")
    store = Store(where)
    start_run(store, parent=start_sweep(store)).finish("finished")
    chosen, _ = stored.choose(where, "pe")
    kept = studies.from_store(where, "pe").source
    said = [str(none.value), store.uri_shown, *stored.whereabouts(where, chosen), kept]
    with pytest.raises(card.CardError, match="needs the id of a run") as nobody:
        card.from_store(where, "0" * 32)
    said.append(str(nobody.value))
    store._client.delete_experiment(store.experiment_id)
    for uri, of in ((address, Store), (address.replace("mlflow.db", "none.db"), read_runs)):
        with pytest.raises(TrackingError) as told:
            of(TrackingSpec(uri=uri))
        said.append(str(told.value))
    assert "S3CRE" not in "".join(said)
    assert kept == hidden and sum("?uri=true&api_key=***" in each for each in said) >= 6


def test_ui_hint_is_bound_to_this_machine_and_hides_passwords() -> None:
    hint = tracking.ui_hint(where_at("sqlite:///mlflow.db"), "3")
    assert "mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1" in hint
    assert hint.endswith("open http://127.0.0.1:5000/#/experiments/3")
    assert tracking.ui_hint(where_at(f"https://me:{SECRET}@host/"), "3") == "open https://me:***@host/#/experiments/3"
    assert SECRET not in tracking.ui_hint(where_at(f"postgresql://me:{SECRET}@host/x"), "3")
