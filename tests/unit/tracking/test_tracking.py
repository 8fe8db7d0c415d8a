"""Against real MLflow stores on SQLite; the server and the creation race stand in the full tier."""

import json
import math
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablate import identity, tracking
from ablate.config.overrides import ConfigError
from ablate.config.schema import StudySpec
from ablate.provenance import provenance
from ablate.report import ReportError
from ablate.report.sources import stored, studies
from ablate.tasks.classify import card
from ablate.tracking import Store, TrackingError, TrackingSpec, list_studies, read_curves, read_runs, redact, uris
from ablate.tracking import writer as writing
from ablate.tracking.tags import noted

SECRET = "s3cr%40t-word"


def _spec(uri: str) -> TrackingSpec:
    return TrackingSpec(uri=uri)


def _sweep(store: Store, study: str = "pe-1", name: str = "pe", **more: Any) -> str:
    definition = {"name": name, "axes": {"model": ["a", "b"]}, "seeds": [0], "points": 2, **more}
    return store.sweep_run(study, {"ablate.sweep": json.dumps(definition)})


def _run(store: Store, point: str = "p", params: dict[str, Any] | None = None, **options: Any) -> tracking.RunWriter:
    return store.start_run(point, params or {}, {"ablate.study": "pe-1", "ablate.point": point}, **options)


# -------------------------------------------------------------------------------------------------------- writing


def test_a_run_comes_back_as_it_was_written(store_uri: str) -> None:
    store = Store(_spec(store_uri))
    writer = _run(store, params={"model.positional": None, "train.lr": 0.001, "data.source": "digits", "x": [1, True]})
    for epoch in (1, 2):
        writer.log({"val/loss": 1 / epoch, "val/top1_percent": 40.0 * epoch}, step=epoch)
    writer.tag({"ablate.identity": "abc"})
    writer.finish("finished")
    (row,) = read_runs(_spec(store_uri)).to_dict("records")
    assert row["run_id"] == writer.run_id
    assert row["status"] == "FINISHED"
    assert row["end_time"] >= row["start_time"]
    assert row["metrics.val/top1_percent"] == 80.0  # the latest
    assert [row[f"params.{key}"] for key in ("model.positional", "train.lr", "data.source", "x")] == [
        "null",
        "0.001",
        "digits",
        "[1, true]",
    ]
    assert (row["tags.ablate.identity"], row["tags.ablate.status"], row["tags.ablate.role"]) == (
        "abc",
        "finished",
        "run",
    )
    assert row["tags.mlflow.runName"] == "p"


@pytest.mark.parametrize(
    ("status", "mlflow_status"),
    [("finished", "FINISHED"), ("diverged", "FINISHED"), ("failed", "FAILED"), ("killed", "KILLED")],
)
def test_finish_tells_mlflow_and_ourselves(store_uri: str, status: tracking.RunStatus, mlflow_status: str) -> None:
    _run(Store(_spec(store_uri))).finish(status, reason=f"could not open postgresql://me:{SECRET}@db/x")
    (row,) = read_runs(_spec(store_uri)).to_dict("records")
    assert (row["status"], row["tags.ablate.status"]) == (mlflow_status, status)
    assert row["tags.ablate.reason"] == "could not open postgresql://me:***@db/x"


def test_log_keeps_values_that_are_no_numbers(store_uri: str) -> None:
    writer = _run(Store(_spec(store_uri)))
    writer.log({"nan": math.nan, "inf": math.inf, "-inf": -math.inf})
    (row,) = read_runs(_spec(store_uri)).to_dict("records")
    assert math.isnan(row["metrics.nan"])
    assert row["metrics.inf"] > 1e308 > -1e308 > row["metrics.-inf"]  # MLflow stores the largest finite number


def test_params_beyond_mlflows_limits_are_recorded_and_stay_apart(store_uri: str) -> None:
    store = Store(_spec(store_uri))
    many = {f"model.options.x{n}": n for n in range(250)}
    runs = [_run(store, params={**many, "long": "x" * 9000 + end}).run_id for end in "ab"]
    frame = read_runs(_spec(store_uri)).set_index("run_id").loc[runs]
    assert list(frame["params.model.options.x249"]) == ["249", "249"]
    assert frame["params.long"].nunique() == 2
    assert frame["params.long"].str.len().max() <= 6000


def test_artifacts_lie_beside_the_database_under_their_names(store_uri: str) -> None:
    writer = _run(Store(_spec(store_uri)))
    writer.artifact("tables/report.md", "± 1\n")
    writer.artifact("predictions.npz", b"\x00\xff")
    with writer.local_artifact("saved/model") as path:
        path.mkdir()
        (path / "weights.h5").write_bytes(b"w")
    root = Path(store_uri.removeprefix("sqlite:///")).parent / "mlartifacts" / "ablate" / writer.run_id / "artifacts"
    assert (root / "tables/report.md").read_text("utf-8") == "± 1\n"
    assert (root / "predictions.npz").read_bytes() == b"\x00\xff"
    assert (root / "saved/model/weights.h5").read_bytes() == b"w"


def test_an_artifact_that_was_not_written_to_the_end_is_not_kept(store_uri: str) -> None:
    writer = _run(Store(_spec(store_uri)))
    with pytest.raises(RuntimeError, match="disk"), writer.local_artifact("model.keras") as path:
        path.write_bytes(b"half")
        raise RuntimeError("disk")
    assert not list(Path(store_uri.removeprefix("sqlite:///")).parent.rglob("model.keras"))


def test_sweep_run_is_one_run_a_study(store_uri: str) -> None:
    store = Store(_spec(store_uri))
    first = _sweep(store)
    assert _sweep(Store(_spec(store_uri))) == first
    assert _sweep(store, study="pe-2") != first
    store.resume(first).finish("finished")
    assert _sweep(store) == first
    frame = read_runs(_spec(store_uri), study="pe-1")
    assert list(frame["status"]) == ["RUNNING"]


def test_abandon_closes_only_what_the_dead_worker_left(store_uri: str) -> None:
    store = Store(_spec(store_uri))
    parent = _sweep(store)
    point = '[["model","it\'s"],["seed",0]]'
    dead, done, other = (_run(store, p, parent=parent) for p in (point, point, "other"))
    done.finish("finished")
    store.abandon(parent, point)
    frame = read_runs(_spec(store_uri)).set_index("run_id")
    assert [frame.loc[writer.run_id, "status"] for writer in (dead, done, other)] == ["KILLED", "FINISHED", "RUNNING"]
    assert frame.loc[dead.run_id, "tags.ablate.reason"] == "its worker died"


# -------------------------------------------------------------------------------------------------------- reading


def test_copies_of_a_run_show_no_chance_and_its_repeats_do(store_uri: str) -> None:
    """A study imported twice, and one trained again from its seeds, gave a standard deviation of 0.00."""
    store, alike = Store(_spec(store_uri)), {"train.epochs": "1"}

    def finished(value: float, **told: str) -> str:
        tags = {"ablate.cell": "c", **{f"ablate.{key.replace('_', '.')}": text for key, text in told.items()}}
        run = store.start_run("x", {"train.epochs": 1}, tags)
        run.log({"final.test_top1_percent": value})
        run.finish("finished")
        return run.run_id

    first = [finished(80.0, identity="seed 0"), finished(80.5, identity="seed 0, repeat 1")]
    for run_id in first:  # the same under another study, then trained anew
        finished(80.0, identity="seed 0", imported_run=run_id)
    finished(80.5, identity="seed 0, repeat 1")
    assert tracking.cells(_spec(store_uri), alike) == {"c": [80.0, 80.5]}
    unnamed = finished(81.0)  # of a version that told no identity
    for _ in range(2):
        finished(81.0, imported_run=unnamed)
        finished(82.0, imported_run="of a store that is elsewhere")
    assert tracking.cells(_spec(store_uri), alike) == {"c": [80.0, 80.5, 81.0, 82.0]}


def test_runs_that_repeat_a_seed_are_two_runs_of_one_cell() -> None:
    leaves = [{"seed": 0, "seeds.init": 0, "repeat": repeat} for repeat in (0, 1)]
    told = [identity.settings(each, backend="tensorflow") for each in leaves]
    assert len(set(told)) == 2 and len(set(map(identity.cell, leaves))) == 1


def test_read_runs_equals_mlflows_own_search(store_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow
    import pandas as pd

    store = Store(_spec(store_uri))
    parent = _sweep(store)
    for number in range(3):
        writer = _run(store, f"p{number}", {"a.b": number, "only": "x"} if number else {"a.b": None}, parent=parent)
        writer.log({"val/loss": 0.5 * number}, step=1)
        writer.log({"val/loss": math.nan if number == 1 else 0.25, "final.x": 1.0}, step=2)
        if number:
            writer.finish("failed")
    deleted = _run(store, "deleted")
    store._client.delete_run(deleted.run_id)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_uri)
    want = mlflow.search_runs(experiment_names=["ablate"])
    got = read_runs(_spec(store_uri))
    assert set(got.columns) == set(want.columns)
    order = sorted(want.columns)
    got, want = (frame[order].sort_values("run_id", ignore_index=True) for frame in (got, want))
    pd.testing.assert_frame_equal(
        got.astype(object).where(got.notna(), None), want.astype(object).where(want.notna(), None)
    )
    assert {str(got[name].dtype) for name in got if name.startswith("metrics.")} == {"float64"}


def test_read_runs_takes_one_study_and_one_experiment(store_uri: str) -> None:
    store = Store(_spec(store_uri))
    _run(store, "mine")
    store.start_run("alone", {}, {})
    Store(TrackingSpec(uri=store_uri, experiment="other")).start_run("elsewhere", {}, {"ablate.study": "pe-1"})
    assert list(read_runs(_spec(store_uri), study="pe-1")["tags.mlflow.runName"]) == ["mine"]
    assert len(read_runs(_spec(store_uri))) == 2
    assert read_runs(TrackingSpec(uri=store_uri, experiment="none")).empty
    assert read_runs(_spec(store_uri), study="none").empty


def test_list_studies_puts_the_one_that_ran_last_first(store_uri: str) -> None:
    store = Store(_spec(store_uri))
    first = _sweep(store, "pe-1")
    _sweep(store, "pe-2")
    _sweep(store, "other-1", name="other")
    for outcome in ("finished", "finished", "diverged", "failed"):  # two attempts at one point, and two other points
        writer = _run(store, "p" if outcome == "finished" else outcome, parent=first)
        writer.finish(outcome)
    records = list_studies(_spec(store_uri), "pe")
    assert [(record.study, record.finished) for record in records] == [("pe-1", 2), ("pe-2", 0)]
    assert records[0].run_id == first
    assert Path(records[0].artifacts) == Path(store_uri.removeprefix("sqlite:///")).parent / "mlartifacts" / "ablate"
    assert {record.definition["name"] for record in list_studies(_spec(store_uri))} == {"pe", "other"}


def test_a_run_serves_trials_that_draw_it_again_and_each_counts_once(store_uri: str) -> None:
    store = Store(_spec(store_uri))
    parent = _sweep(store)
    trials = [f'[["model","a"],["trial",{n}],["seed",0]]' for n in range(4)]
    assert store.serve_redraw("i", "pe-1", trials[1]) is None
    first, late = (_run(store, point, parent=parent) for point in (trials[0], trials[3]))  # two drew the same at once
    for writer in (first, late):
        writer.tag({"ablate.identity": "i"})
        writer.log({"final.val_top1_percent": 7.0})
    late.finish("finished")
    for _ in range(2):  # its worker died before the queue heard
        found = store.serve_redraw("i", "pe-1", trials[1])
        assert found is not None and (found.run_id, found.metrics["final.val_top1_percent"]) == (late.run_id, 7.0)
    first.finish("finished")
    for point in trials:  # also those that have a run
        assert store.serve_redraw("i", "pe-1", point) is not None
    assert store.serve_redraw("i", "other-1", trials[1]) is None
    told = read_runs(_spec(store_uri)).set_index("run_id")["tags.ablate.redrawn.pe-1"]
    assert (told[first.run_id], told[late.run_id]) == ("[1, 2, 3]", "[1]")
    assert list_studies(_spec(store_uri))[0].finished == len(trials)


def test_a_list_of_redrawn_trials_stays_whole() -> None:
    text = None
    for trial in range(2000):
        text = noted(text, trial)
    assert text is not None and len(text) <= 8000 and json.loads(text)[:1500] == list(range(1500))


def test_list_studies_reads_a_definition_longer_than_a_tag(store_uri: str) -> None:
    levels = [f"level-{number}" for number in range(9000)]
    _sweep(Store(_spec(store_uri)), axes={"model": levels})
    assert list_studies(_spec(store_uri))[0].definition["axes"]["model"] == levels


def test_read_curves_gives_every_step(store_uri: str) -> None:
    store = Store(_spec(store_uri))
    runs = [_run(store, point) for point in "ab"]
    for step in (2, 1):
        for writer in runs:
            writer.log({"val/loss": math.nan if step == 2 else 0.5, "other": 1.0}, step=step)
    frame = read_curves(_spec(store_uri), [runs[1].run_id, runs[0].run_id], "val/loss")
    assert list(frame["run_id"]) == [runs[1].run_id] * 2 + [runs[0].run_id] * 2
    assert list(frame["step"]) == [1, 2, 1, 2]
    assert frame["value"].isna().tolist() == [False, True] * 2


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
    _run(Store(_spec(store_uri)))
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    assert read_runs(_spec(store_uri)).empty
    assert len(read_runs(TrackingSpec(uri=store_uri, experiment="of the lab"))) == 1
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    assert TrackingSpec(experiment="mine").resolved_experiment() == "mine"


@pytest.mark.parametrize("name", ["..", ".", "a/../../b", "/etc", "é" * 200, "a\\..\\b", "x" * 255])
def test_an_experiment_of_any_name_has_its_artifacts_in_a_folder_of_its_own(store_uri: str, name: str) -> None:
    where = TrackingSpec(uri=store_uri, experiment=name)
    Store(where).start_run("a", {}, {}).artifact("a.txt", "a")
    root = Path(store_uri.removeprefix("sqlite:///")).parent
    assert {each.name for each in root.iterdir()} <= {"mlflow.db", "mlflow.db.lock", "mlartifacts"}
    (folder,) = (root / "mlartifacts").iterdir()
    (artifact,) = folder.glob("*/artifacts/a.txt")
    assert artifact.read_text("utf-8") == "a" and len(read_runs(where)) == 1


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\x1b[31mred", "a\0b", "\udcff"])
def test_an_experiment_without_a_printable_name_is_refused_before_anything_is_made(tmp_path: Path, name: str) -> None:
    with pytest.raises(TrackingError, match=r"tracking\.experiment must be a name in printable characters"):
        Store(TrackingSpec(uri=f"sqlite:///{tmp_path / 'mlflow.db'}", experiment=name))
    assert not list(tmp_path.iterdir())


def test_tracking_imports_nothing_heavy() -> None:
    code = (
        "import sys, ablate.tracking; print([m for m in ('mlflow','pandas','sqlalchemy','numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# --------------------------------------------------------------------------------------------- secrets and errors


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
        Store(_spec(uri.format(password)))
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
        use(_spec(uri))
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


def test_reading_where_nothing_was_recorded_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"there are no records at sqlite:///.*run something first"):
        read_runs(_spec(f"sqlite:///{tmp_path / 'none.db'}"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("use", [Store, read_runs])
def test_a_damaged_database_is_one_sentence(tmp_path: Path, use: Callable[[TrackingSpec], Any]) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(TrackingError, match=r"file is not a database; move the damaged file away"):
        use(_spec(f"sqlite:///{tmp_path / 'mlflow.db'}"))


def test_a_read_only_database_can_be_read_and_not_written(store_uri: str) -> None:
    _run(Store(_spec(store_uri)))
    read_only = store_uri.replace("sqlite:///", "sqlite:///file:") + "?mode=ro&uri=true"
    assert len(read_runs(_spec(read_only))) == 1
    with pytest.raises(TrackingError, match="readonly database; make it writable"):
        Store(_spec(read_only))


@pytest.mark.parametrize("kind", ["newer", "another program's"])
def test_a_database_of_another_schema_is_one_sentence(mlflow_template: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mlflow.db"
    if kind == "newer":
        shutil.copy(mlflow_template, path)
    with sqlite3.connect(path) as connection:
        connection.execute("create table if not exists alembic_version (version_num text)")
        connection.execute("delete from alembic_version")
        connection.execute("insert into alembic_version values ('v9.9.9.future')")
    with pytest.raises(TrackingError, match="another MLflow or another program made it"):
        Store(_spec(f"sqlite:///{path}"))


def test_a_database_without_mlflows_tables_is_one_sentence(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "other.db").execute("create table t (x)").connection.close()
    with pytest.raises(TrackingError, match="it holds no MLflow records"):
        read_runs(_spec(f"sqlite:///{tmp_path / 'other.db'}"))


def test_a_deleted_experiment_is_not_written_to(store_uri: str) -> None:
    store = Store(_spec(store_uri))
    store._client.delete_experiment(store.experiment_id)
    with pytest.raises(TrackingError, match="was deleted: restore it"):
        Store(_spec(store_uri))


def test_what_is_said_and_kept_of_a_store_hides_its_secret(store_uri: str, tmp_path: Path) -> None:
    address = f"sqlite:///file:{store_uri.removeprefix('sqlite:///')}?uri=true&api_key=S3CRE'T"
    where, hidden = TrackingSpec(uri=address, spool=str(tmp_path / "spool")), address.replace("S3CRE'T", "***")
    with pytest.raises(ReportError, match="needs a study that") as none:
        stored.choose(where, "pe")
    store = Store(where)
    _run(store, parent=_sweep(store)).finish("finished")
    chosen, _ = stored.choose(where, "pe")
    kept = studies.from_store(where, "pe").source
    said = [str(none.value), store.uri_shown, *stored.whereabouts(where, chosen, []), kept]
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


def test_the_artifacts_of_a_study_are_shown_without_the_password_of_their_server(store_uri: str) -> None:
    client = Store(_spec(store_uri))._client
    client.create_experiment("far", artifact_location="ftp://me:S3CRE'T@h/x")
    _sweep(Store(TrackingSpec(uri=store_uri, experiment="far")))
    (study,) = list_studies(TrackingSpec(uri=store_uri, experiment="far"))
    assert study.artifacts == "ftp://me:***@h/x"


def test_ui_hint_is_bound_to_this_machine_and_hides_passwords() -> None:
    hint = tracking.ui_hint(_spec("sqlite:///mlflow.db"), "3")
    assert "mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1" in hint
    assert hint.endswith("open http://127.0.0.1:5000/#/experiments/3")
    assert tracking.ui_hint(_spec(f"https://me:{SECRET}@host/"), "3") == "open https://me:***@host/#/experiments/3"
    assert SECRET not in tracking.ui_hint(_spec(f"postgresql://me:{SECRET}@host/x"), "3")


# ------------------------------------------------------------------------------------------------------ provenance


def test_provenance_names_commit_versions_and_machine() -> None:
    import numpy as np

    tags = provenance()
    assert tags["ablate.version.numpy"] == np.__version__
    assert {"ablate.version.keras", "ablate.version.mlflow"} <= tags.keys()
    assert tags["ablate.version.python"] == sys.version.split()[0]
    assert tags["ablate.platform"]
    assert tags["ablate.cpu"]
    inside = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    if inside.returncode == 0:
        assert tags["mlflow.source.git.commit"] == inside.stdout.strip()
        assert tags["ablate.git.dirty"] in ("true", "false")


# ------------------------------------------------------------------------------------------- a store that goes away


def _entries() -> list[dict[str, Any]]:
    return [
        {"kind": "params", "params": {"a": "1"}, "time": 5},
        {"kind": "metrics", "metrics": {"x": 1.0, "nan": math.nan}, "step": 1, "time": 5},
        {"kind": "metrics", "metrics": {"x": 2.0}, "step": 2, "time": 6},
        {"kind": "tags", "tags": {"ablate.status": "finished"}, "time": 7},
        {"kind": "finish", "status": "FINISHED", "time": 7},
    ]


def test_what_is_delivered_twice_is_recorded_once(store_uri: str) -> None:
    store = Store(_spec(store_uri))
    run = _run(store)
    for _ in range(2):  # as where the answer to the last entry was lost
        for entry in _entries():
            writing._send(store._client, run.run_id, entry, Path())
    assert list(read_curves(_spec(store_uri), [run.run_id], "x")["value"]) == [1.0, 2.0]
    (row,) = read_runs(_spec(store_uri)).to_dict("records")
    assert (row["status"], row["params.a"], row["tags.ablate.status"]) == ("FINISHED", "1", "finished")
    born = {"kind": "create", "name": "n", "time": 5, "again": True, "tags": {"ablate.attempt": "m"}}
    ids = [writing.create(store._client, born, store.experiment_id) for _ in range(2)]
    assert ids[0] == ids[1]


def test_what_waits_is_delivered_in_order_by_the_next_run_and_kept_until_then(store_uri: str, tmp_path: Path) -> None:
    where = TrackingSpec(uri=store_uri, spool=str(tmp_path / "spool"))
    run = _run(Store(where))
    journal = run._journal
    for entry in _entries():
        journal.add(entry)
    with (journal.folder / "said.jsonl").open("a") as said:
        said.write('{"kind": "tags", "ta')  # a crash cut it off
    assert Store(where).deliver().told == 0  # this process holds it
    journal.release()
    assert Store(TrackingSpec(uri=store_uri, spool=where.spool, experiment="other")).deliver().waiting == 1
    _run(Store(where), "next")
    assert not journal.waits
    assert list(read_curves(where, [run.run_id], "x")["value"]) == [1.0, 2.0]


def test_what_the_store_refuses_is_raised_at_once(store_uri: str, tmp_path: Path) -> None:
    run = _run(Store(TrackingSpec(uri=store_uri, spool=str(tmp_path / "spool"))))
    with pytest.raises(TrackingError):
        run.log({"no/such name: [": 1.0})
    assert not run._journal.waits


@pytest.mark.full
def test_a_database_that_is_locked_meanwhile_loses_nothing(store_uri: str, tmp_path: Path) -> None:
    where = TrackingSpec(uri=store_uri + "?timeout=0.1", spool=str(tmp_path / "spool"))
    run = _run(Store(where))
    holder = sqlite3.connect(store_uri.removeprefix("sqlite:///"), isolation_level=None)
    holder.execute("begin exclusive")
    run.log({"x": 1.0}, step=1)
    assert run._journal.waits
    holder.close()
    run._again = 0.0  # as if its time to look again had come
    run.log({"x": 2.0}, step=2)
    assert not run._journal.waits
    assert list(read_curves(where, [run.run_id], "x")["value"]) == [1.0, 2.0]
