"""Studies that share runs, out of a store and into one: an import adds, and changes nothing that is there."""

import json
import multiprocessing.pool
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ablate.report import Reading, report_records, report_study
from ablate.report.sources import records, studies
from ablate.report.sources.records import RecordsError, write
from ablate.tracking import Store, TrackingSpec, liveness, read_runs
from tests.unit.report.pages.test_report_frames import chain

SHIPPED = Path(__file__).parents[4] / "docs" / "records"
SEEDS = (0, 1)


def _definition(name: str) -> dict[str, Any]:
    axes = {"model": ["vit", "cct"]}
    return {"name": name, "question": "?", "table": "", "method": "grid", "axes": axes, "baseline": {"model": "vit"},
            "seeds": list(SEEDS), "points": 4, "combinations": [["vit"], ["cct"]], "runs_per_row": 2}  # fmt: skip


def _point(model: str, seed: int) -> str:
    return json.dumps([["model", model], ["seed", seed]], separators=(",", ":"))


def _train(store: Store, parent: str, study: str, model: str, seed: int, value: float) -> str:
    tags = {"ablate.study": study, "ablate.point": _point(model, seed), "ablate.identity": f"{model}{seed}"}
    run = store.start_run(f"{model} {seed}", {"model.name": model, "train.epochs": 1}, tags, parent=parent)
    run.log({"val/top1_percent": value}, step=1)
    run.log({"final.test_top1_percent": value, "final.val_top1_percent": value})
    run.finish("finished")
    return run.run_id


@pytest.fixture
def where(store_uri: str) -> TrackingSpec:
    """Study first-1 with four runs, two of which serve second-2, which has two of its own and a failed attempt."""
    spec = TrackingSpec(uri=store_uri)
    store = Store(spec)
    first = store.sweep_run("first-1", {"ablate.sweep": json.dumps(_definition("first"))})
    for model in ("vit", "cct"):
        for seed in SEEDS:
            _train(store, first, "first-1", model, seed, 60.0 + 10 * (model == "cct") + seed)
    second = store.sweep_run("second-2", {"ablate.sweep": json.dumps(_definition("second"))})
    tags = {"ablate.study": "second-2", "ablate.point": _point("vit", 0)}
    store.start_run("lost", {}, tags, parent=second).finish("failed", reason="out of memory")
    for seed in SEEDS:
        assert store.serve(f"vit{seed}", "second-2", _point("vit", seed)) is not None
        _train(store, second, "second-2", "cct", seed, 80.0 + seed)
    return spec


@pytest.fixture
def files(where: TrackingSpec, tmp_path: Path) -> dict[str, Path]:
    made = {name: tmp_path / f"{name}.jsonl" for name in ("first", "second")}
    for name, path in made.items():
        records.write(studies.from_store(where, name), path)
    return made


def _body(where: TrackingSpec, name: str) -> list[str]:
    text = report_study(where, name, reading=Reading())
    return [line for line in text.splitlines() if not line.startswith(("study ", "artifacts", "MLflow UI"))]


def _edited(path: Path, edit: Callable[[int, dict[str, Any]], None]) -> Path:
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for number, line in enumerate(lines):
        edit(number, line)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return path


def _import(path: Path, where: TrackingSpec) -> tuple[int, list[str]]:
    said: list[str] = []
    return studies.to_store(records.read(path), where, tell=said.append), said


def test_a_file_has_a_studys_own_runs_and_no_word_of_other_studies(files: dict[str, Path]) -> None:
    for name, study, other, runs in (("first", "first-1", "second-2", 4), ("second", "second-2", "first-1", 5)):
        text = files[name].read_text("utf-8")
        assert other not in text and "serves" not in text and "shown" not in text
        frame = records.read(files[name]).frame
        assert len(frame) == runs and set(frame["tags.ablate.study"]) == {study}


def test_two_studies_that_share_runs_report_the_same_through_files_and_another_store(
    where: TrackingSpec, files: dict[str, Path], new_store: Callable[[], str], tmp_path: Path
) -> None:
    other = TrackingSpec(uri=new_store())
    assert [_import(path, other)[0] for path in files.values()] == [4, 5]
    assert [_import(path, other)[0] for path in files.values()] == [0, 0]
    for name, path in files.items():
        assert _body(other, name) == _body(where, name)
        again = tmp_path / f"again-{name}.jsonl"
        records.write(studies.from_store(other, name), again)
        assert again.read_bytes() == path.read_bytes()
    for path in files.values():
        assert _import(path, where)[0] == 0  # by way of another store, it knows them


def test_a_study_is_not_written_twice_into_the_store_that_it_came_from(
    where: TrackingSpec, files: dict[str, Path]
) -> None:
    before, bodies = read_runs(where), {name: _body(where, name) for name in files}
    for name, path in files.items():
        count = len(records.read(path).frame)
        told = f"0 runs of study {records.read(path).study} were written, {count} were there already."
        assert _import(path, where) == (0, [told])
        assert _body(where, name) == bodies[name]
    assert read_runs(where).equals(before)  # nor is the parent's status touched


def test_what_a_file_says_of_other_studies_is_not_imported(where: TrackingSpec, files: dict[str, Path]) -> None:
    claims = {
        "tags.ablate.serves.first-1": _point("vit", 0),
        "tags.ablate.shown.first-1": "run",
        "tags.ablate.redrawn.first-1": "[0]",
        "tags.ablate.sweep": json.dumps(_definition("first")),
        "tags.mlflow.parentRunId": "0" * 32,
        "tags.ablate.imported.run": "0" * 32,
        "tags.ablate.worker": "here:1:1.0",
    }

    def claim(number: int, line: dict[str, Any]) -> None:
        if number == 0:
            line["study"], line["shared"]["tags.ablate.study"] = "third-3", "third-3"
            line["definition"]["name"] = "third"
        else:
            line |= {"run_id": f"{number:032x}", "metrics.final.test_top1_percent": 99.99, **claims}

    before = _body(where, "first")
    assert _import(_edited(files["first"], claim), where)[0] == 4
    assert _body(where, "first") == before
    assert "99.99" in "".join(_body(where, "third"))
    frame = read_runs(where, study="third-3").dropna(axis=1, how="all")
    assert not [column for column in frame if "first-1" in column]
    (parent,) = frame["run_id"][frame["tags.ablate.sweep"].notna()]
    assert list(frame["tags.mlflow.parentRunId"].dropna()) == [parent] * 4


def test_a_run_that_serves_a_point_counts_where_the_study_has_no_outcome_of_its_own(where: TrackingSpec) -> None:
    """What an earlier version imported: links to points that have been trained."""
    store, before = Store(where), _body(where, "second")
    forged = store.start_run("forged", {}, {"ablate.study": "x-1", "ablate.point": _point("cct", 0)})
    forged.log({"final.test_top1_percent": 99.99})
    forged.tag({"ablate.serves.second-2": _point("cct", 0)})
    forged.finish("finished")
    late = store.start_run("late", {}, {"ablate.study": "x-1", "ablate.point": _point("vit", 1)})
    late.log({"final.test_top1_percent": 99.99})
    late.tag({"ablate.serves.second-2": _point("vit", 1)})
    late.finish("finished")
    assert _body(where, "second") == before
    assert len(studies.from_store(where, "second").frame) == 5


def test_a_row_of_another_study_is_refused_by_its_line(files: dict[str, Path], where: TrackingSpec) -> None:
    def move(number: int, line: dict[str, Any]) -> None:
        if number == 2:
            line["tags.ablate.study"] = "second-2"

    with pytest.raises(records.RecordsError, match=r"its study, first-1, but line 3 is of second-2"):
        _import(_edited(files["first"], move), where)


def test_results_that_the_store_has_by_other_runs_stay_and_the_file_is_told_so(
    where: TrackingSpec, files: dict[str, Path]
) -> None:
    def forge(number: int, line: dict[str, Any]) -> None:
        if number:
            line |= {"run_id": f"{number:032x}", "metrics.final.test_top1_percent": 99.99}

    before = _body(where, "first")
    written, said = _import(_edited(files["first"], forge), where)
    assert written == 0 and "4 were left out: the store has results of their points by other runs" in said[1]
    assert _body(where, "first") == before


def test_an_import_that_was_cut_off_is_completed_and_no_run_is_there_twice(
    where: TrackingSpec, files: dict[str, Path], new_store: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other, copied = TrackingSpec(uri=new_store()), []
    whole = studies._copy

    def cut(store: Store, parent: str, found: records.Records, row: dict[str, Any], *times: Any) -> bool:
        if copied:  # killed when one run was whole, and the next begun
            tags = {"ablate.study": found.study, "ablate.imported.run": row["run_id"]}
            store.start_run("half", {}, {**tags, "ablate.point": row["tags.ablate.point"]}, parent=parent)
            raise KeyboardInterrupt
        copied.append(row)
        return whole(store, parent, found, row, *times)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(studies, "_copy", cut)
        _import(files["first"], other)
    assert _import(files["first"], other)[0] == 3
    assert _body(other, "first") == _body(where, "first")
    assert len(studies.from_store(other, "first").frame) == 4
    assert set(read_runs(other, study="first-1")["status"]) == {"FINISHED"}


def test_two_imports_of_one_file_at_once_write_each_run_once(
    where: TrackingSpec, files: dict[str, Path], new_store: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other, both = TrackingSpec(uri=new_store()), threading.Barrier(2)
    due = studies._due

    def at_once(*looked: Any) -> Any:
        both.wait(60)  # each has found that the store has none
        return due(*looked)

    monkeypatch.setattr(studies, "_due", at_once)
    with multiprocessing.pool.ThreadPool(2) as pool:
        told = pool.map(lambda _: _import(files["first"], other), range(2), chunksize=1)
    counts = [count for count, _ in told]
    assert sum(counts) == 4 and [f"{n} runs of study first-1 were written, {4 - n}" in told[k][1][0]
                                 for k, n in enumerate(counts)] == [True, True]  # fmt: skip
    assert len(studies.from_store(other, "first").frame) == 4
    assert _body(other, "first") == _body(where, "first")


def test_an_import_takes_no_living_imports_run_for_half_and_a_dead_ones_and_no_others(
    where: TrackingSpec, files: dict[str, Path], new_store: Callable[[], str]
) -> None:
    other = TrackingSpec(uri=new_store())
    store, here = Store(other), liveness.sign_of_worker()
    dead = f"{here.rsplit(':', 2)[0]}:{os.getpid()}:1.00"  # a process that had this one's number, long ago
    ids = list(records.read(files["first"]).frame["run_id"])
    parent = store.sweep_run("first-1", {"ablate.sweep": json.dumps(_definition("first")), "ablate.imported": "true"})

    def begun(first: str, worker: str, **more: str) -> str:
        tags = {"ablate.study": "first-1", "ablate.imported.run": first, "ablate.worker": worker, **more}
        return store.start_run("copy", {}, tags, parent=parent).run_id

    copy = {"ablate.imported": "true"}
    kept = {begun(ids[0], here, **copy), begun(ids[1], dead)}  # the second was trained, and made anew in a new store
    half = begun(ids[2], dead, **copy)
    assert _import(files["first"], other)[0] == 2
    there = set(read_runs(other, study="first-1")["run_id"])
    assert kept <= there and half not in there


@pytest.mark.parametrize("name", ["noise_floor-mnist5k", "keras_io-cifar10"])  # with links and views of other studies
def test_files_of_earlier_versions_import_and_report_the_same(name: str, store_uri: str) -> None:
    found, where = records.read(SHIPPED / f"{name}.jsonl"), TrackingSpec(uri=store_uri)
    assert studies.to_store(found, where) == len(found.frame)
    told = report_records(found, reading=Reading()).splitlines()
    heads = ("study ", "artifacts", "MLflow UI")
    assert _body(where, found.definition["name"]) == [line for line in told if not line.startswith(heads)]


def test_gather_reads_each_file_that_fits_once_and_says_when_none_does(tmp_path):
    for name in ("pe-a", "pe-b", "other"):
        write(chain({"2": [50.0]}, question=name), tmp_path / f"{name}.jsonl")
    found = studies.gather([f"{tmp_path}/pe-*.jsonl", f"{tmp_path}/pe-b.jsonl"])
    assert [each.definition["question"] for each in found] == ["pe-a", "pe-b"]
    assert len(studies.gather(f"{tmp_path}/other.jsonl")) == 1
    with pytest.raises(RecordsError, match="records must name files"):
        studies.gather([f"{tmp_path}/none-*.jsonl"])
