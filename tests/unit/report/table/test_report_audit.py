"""Two sides that differ in one thing more than they should, one thing at a time."""

import json
from typing import Any

import pandas as pd
import pytest

from ablate.report import report_table
from ablate.report.table.audit import lines
from ablate.report.table.table import Table

AXES = {"model": ["vit", "cct"], "train.lr": [0.1, 0.2]}
SHARED = {
    "status": "FINISHED",
    "tags.ablate.status": "finished",
    "params.model.tokenizer": "patch",
    "params.model.layers": "2",
    "params.train.lr": "0.1",
    "params.train.select": "best",
    "params.data.val_fraction": "0.1",
    "params.data.cache": "null",
    "params.hardware.threads": "1",
    "tags.ablate.sources": "a" * 64,
    "tags.ablate.data.digest": "d" * 64,
    "tags.ablate.version.keras": "3.15.1",
    "tags.ablate.git.dirty": "false",
    "tags.mlflow.source.git.commit": "c" * 40,
    "metrics.final.epochs_trained": 4.0,
}


def _runs(axes: dict[str, list[Any]] | None = None) -> list[dict[str, Any]]:
    axes = axes or {"model": ["vit", "cct"]}
    (axis, levels), *_ = axes.items()
    return [
        {
            **SHARED,
            "run_id": f"{level} {seed}",
            "params.seeds.init": str(seed),
            "tags.ablate.point": json.dumps([[axis, level], ["seed", seed]]),
            "metrics.final.test_top1_percent": 80.0 + seed + 3 * number,
        }
        for number, level in enumerate(levels)
        for seed in (0, 1, 2)
    ]


def _table(runs: list[dict[str, Any]], axes: dict[str, list[Any]] | None = None, **more: Any) -> Table:
    axes = axes or {"model": ["vit", "cct"]}
    definition = {
        "name": "audited",
        "axes": axes,
        "baseline": {axis: levels[0] for axis, levels in axes.items()},
        "seeds": [0, 1, 2],
        "points": 6,
        **more,
    }
    return report_table(pd.DataFrame(runs), definition)


def _kinds(table: Table) -> dict[str, tuple[str, str]]:
    return {each.kind: (each.treatment, each.baseline) for each in table.audit}


def test_audit_finds_nothing_where_only_the_factor_and_what_it_entails_differ() -> None:
    runs = _runs()
    for run in runs[3:]:
        run |= {"params.model.tokenizer": "conv", "params.model.options.tokenizer.conv_padding": "symmetric"}
    assert not _table(runs).audit
    for run in runs:
        run |= {"params.hardware.threads": run["run_id"], "params.data.cache": run["run_id"]}
    assert not _table(runs).audit


@pytest.mark.parametrize(
    ("column", "value", "kind", "said"),
    [
        ("params.train.lr", "0.5", "train.lr", ("0.5", "0.1")),
        ("params.train.select", "last", "selection rule", ("last", "best")),
        ("params.data.val_fraction", "0.2", "data.val_fraction", ("0.2", "0.1")),
        ("tags.ablate.sources", "b" * 64, "sources", ("bbbbbbbb", "aaaaaaaa")),
        ("tags.ablate.data.digest", "e" * 64, "data digest", ("eeeeeeee", "dddddddd")),
        ("tags.ablate.version.keras", "3.14.0", "version of keras", ("3.14.0", "3.15.1")),
        ("tags.ablate.git.dirty", "true", "uncommitted changes", ("true", "false")),
        ("tags.ablate.backend", "jax", "backend", ("jax", "not recorded")),
        ("metrics.final.epochs_trained", 3.0, "epochs trained", ("3", "4")),
    ],
)
def test_audit_flags_each_kind_of_difference(column: str, value: Any, kind: str, said: tuple[str, str]) -> None:
    runs = _runs()
    for run in runs[3:]:
        run[column] = value
    assert _kinds(_table(runs)) == {kind: said}


def test_audit_flags_one_deviating_run_of_three() -> None:
    runs = _runs()
    runs[4]["tags.ablate.version.keras"] = "3.14.0"
    assert _kinds(_table(runs)) == {"version of keras": ("3.14.0, 3.15.1", "3.15.1")}


def test_audit_flags_versions_swapped_between_seeds() -> None:
    runs = _runs()
    runs[0]["tags.ablate.version.keras"] = runs[4]["tags.ablate.version.keras"] = "3.14.0"
    assert "version of keras" in _kinds(_table(runs))


def test_audit_tells_a_commit_only_where_sources_are_not_known() -> None:
    runs = _runs()
    for run in runs[3:]:
        run["tags.mlflow.source.git.commit"] = "f" * 40
    assert not _table(runs).audit
    for run in runs:
        del run["tags.ablate.sources"]
    assert _kinds(_table(runs)) == {"commit": ("ffffffff", "cccccccc")}


def test_audit_flags_seeds_and_outcomes_that_differ() -> None:
    runs = _runs()
    runs[5] |= {"tags.ablate.status": "diverged", "metrics.final.test_top1_percent": None}
    assert _kinds(_table(runs)) == {
        "seeds": ("0, 1", "0, 1, 2"),
        "status": ("2 finished, 1 diverged", "3 finished"),
    }


def test_audit_knows_what_each_factor_entails() -> None:
    for axis, column in (
        ("data", "tags.ablate.data.digest"),
        ("data.image_size", "tags.ablate.data.digest"),
        ("recipe", "params.train.lr"),
        ("recipe", "params.augment.mixup"),
        ("train.select", "params.train.select"),
        ("train.epochs", "metrics.final.epochs_trained"),
        ("model.positional", "params.model.options.positional.draw"),
        ("model.dim", "params.model.key_dim"),
    ):
        axes = {axis: ["one", "two"]}
        runs = _runs(axes)
        for run in runs[3:]:
            run[column] = 9.0 if column.startswith("metrics.") else "other"
        assert not _table(runs, axes).audit, axis
        other = {"model.layers" if axis != "model.layers" else "model.dim": ["one", "two"]}
        runs = _runs(other)
        for run in runs[3:]:
            run[column] = 9.0 if column.startswith("metrics.") else "other"
        assert _table(runs, other).audit, column


def test_audit_takes_epochs_at_equal_training_macs_as_declared() -> None:
    runs = _runs()
    for run in runs[3:]:
        run |= {"params.train.epochs": "9", "metrics.final.epochs_trained": 9.0}
    for run in runs[:3]:
        run["params.train.epochs"] = "4"
    assert set(_kinds(_table(runs))) == {"train.epochs", "epochs trained"}
    assert not _table(runs, budget="macs").audit


def test_audit_of_axes_that_move_together_lets_all_of_them_move() -> None:
    axes = {"model.tokenizer": ["patch", "conv"], "model.layers": [2, 4]}
    both = [("patch", "2"), ("conv", "4")]
    runs = _runs()
    for run, (tokenizer, layers) in zip(runs, [pair for pair in both for _ in range(3)], strict=True):
        point = [["model.tokenizer", tokenizer], ["model.layers", int(layers)], ["seed", int(run["params.seeds.init"])]]
        run["tags.ablate.point"] = json.dumps(point)
        run |= {"params.model.tokenizer": tokenizer, "params.model.layers": layers}
    more: dict[str, Any] = {"method": "zip", "combinations": [["patch", 2], ["conv", 4]]}
    assert not _table(runs, axes, **more).audit
    runs[0]["params.train.lr"] = "9"
    (found,) = _table(runs, axes, **more).audit
    assert found.kind == "train.lr" and found.contrasts == (0,)


def test_audit_says_each_kind_in_one_line() -> None:
    axes = {"model": ["vit", "cct", "cvt", "mlp", "cnn"]}
    runs = _runs(axes)
    for run in runs[3:]:
        run["params.train.lr"] = run["run_id"].split()[0]
    table = _table(runs, axes, points=15)
    assert table.analysis is not None
    (line,) = lines(table.audit, table.analysis.contrasts)
    assert line == (
        "not only the factor differs: train.lr cct against 0.1; cvt against 0.1; mlp against 0.1; 1 more pairs "
        "(all contrasts)"
    )
