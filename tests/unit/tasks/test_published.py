"""Our runs beside published numbers: where they stand, what is said of them, and when there is a difference."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ablate.cli import main as cli
from ablate.config.compose import compose, to_config
from ablate.report.sources.records import Records, write
from ablate.tasks.classify import paper, published
from ablate.tasks.classify import published_tables as tables
from ablate.tasks.classify.published import Ours, layout
from ablate.tracking import param_text

PAPER = ("recipe=paper_cifar", "data=cifar10", "model=cct_7_3x1", "augment.erasing_probability=0", "train.select=test")


def _records(
    *words: str, seeds: int = 4, table: str = "table1", base: tuple[str, ...] = PAPER, **record: Any
) -> Records:
    """Runs of one point, with the leaves that such a run records."""
    leaves = to_config(compose([*base, *words])).point().leaves()
    params = {f"params.{leaf}": param_text(value) for leaf, value in leaves.items()}
    runs = [
        {
            **params,
            "run_id": f"{seed}abcdef0123456789",
            "status": "FINISHED",
            "tags.ablate.status": "finished",
            "tags.ablate.point": json.dumps([["model", "cct_7_3x1"], ["seed", seed]]),
            "metrics.final.test_top1_percent": 96.0 + 0.1 * seed,
            **record,
        }
        for seed in range(seeds)
    ]
    definition = {
        "name": "ours",
        "table": table,
        "axes": {"model": ["cct_7_3x1"]},
        "baseline": {"model": "cct_7_3x1"},
        "seeds": list(range(seeds)),
        "points": seeds,
    }
    return Records("ours-1234", definition, "", pd.DataFrame(runs), {}, "ours.jsonl")


def _placed(table: str, *studies: Records) -> list[tuple[tuple[str, ...], str, Ours]]:
    found = layout(table, studies)
    return [(line.labels, head, one) for line in found.lines for head, ours in line.ours.items() for one in ours]


def test_layout_gives_a_difference_where_all_but_chance_is_the_same() -> None:
    ((labels, head, ours),) = _placed("table1", _records())
    assert (labels, head) == (("CCT-7/3x1",), "CIFAR-10")
    assert ours.differs == ()
    assert ours.best == pytest.approx(96.3) and ours.difference == pytest.approx(96.3 - 96.53)
    assert [run_id[:2] for run_id in ours.run_ids] == ["0a", "1a", "2a", "3a"]
    page = published.markdown(layout("table1", [_records()]))
    assert "| 96.53 b | 96.15 ± 0.21 [1] | -0.23 [1] |" in page
    assert (
        "- [1] ours-1234, cct_7_3x1: cifar10; 300 epochs + 10 of cooldown; epoch chosen by the TEST set; n 4, expected "
        "best of 4: 96.30; runs 0abcdef0 1abcdef0 2abcdef0 3abcdef0" in page
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train.select=last"], "epoch chosen by last, not by test"),
        (["train.epochs=200"], "200 epochs, not 300"),
        (["train.lr=1e-3"], "another recipe (train.lr)"),
        (["augment.mixup=0"], "another recipe (augment.mixup)"),
        (["model.attention_dropout=0"], "another recipe (model.attention_dropout)"),
        (["data.val_fraction=0.1"], "another recipe (data.val_fraction)"),
    ],
)
def test_layout_leaves_the_difference_blank_and_says_what_is_not_the_same(words: list[str], said: str) -> None:
    ((_, _, ours),) = _placed("table1", _records(*words))
    assert ours.difference is None and ours.differs == (said,)
    page = published.markdown(layout("table1", [_records(*words)]))
    assert f"no difference is given: {said}" in page and "difference |" not in page


def test_layout_needs_as_many_runs_as_the_best_was_taken_of() -> None:
    ((_, _, ours),) = _placed("table1", _records(seeds=3))
    assert ours.difference is None and ours.best is None
    assert ours.differs == ("3 runs, too few for the best of 4",)


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("params.augment.", "another recipe (augment.random_resized_crop.scale, "),
        ("params.train.warmup_lr", "another recipe (train.warmup_lr)"),
        ("params.train.epochs", "an unrecorded number of epochs, not 300"),
    ],
)
def test_layout_gives_no_difference_where_the_recipe_was_not_recorded(gone: str, said: str) -> None:
    records = _records()
    lacking = records.frame.drop(columns=[name for name in records.frame if name.startswith(gone)])
    ((_, _, ours),) = _placed("table1", replace(records, frame=lacking))
    assert ours.difference is None and len(ours.differs) == 1 and ours.differs[0].startswith(said)


def test_layout_takes_a_leaf_that_is_newer_than_the_runs_for_its_default() -> None:
    records = _records()
    newer = ["params.train.clip_norm", "params.model.key_dim", "params.model.options.positional.draw"]
    ((_, _, ours),) = _placed("table1", replace(records, frame=records.frame.drop(columns=newer)))
    assert ours.differs == () and ours.difference is not None


@pytest.mark.parametrize(
    "words",
    [
        ["model=cct_7_3x2"],
        ["data=cifar100"],
        ["model.positional=sine"],
        ["model.pooling=mean"],
        ["data.per_class=100"],
        ["data.fraction=0.5"],
        ["data.image_size=64"],
    ],
)
def test_layout_puts_other_models_and_data_elsewhere(words: list[str]) -> None:
    placed = _placed("table1", _records(*words))
    assert not any(labels == ("CCT-7/3x1",) and head == "CIFAR-10" for labels, head, _ in placed)


def test_layout_lists_what_belongs_to_no_published_number() -> None:
    found = layout("table1", [_records("data=mnist5k")])
    assert not any(line.ours for line in found.lines)
    assert [one.row for one in found.further] == ["cct_7_3x1"]
    told = "mnist5k | 300 epochs + 10 of cooldown; epoch chosen by the TEST set"
    assert f"| ours-1234 | cct_7_3x1 | {told} | 96.15 ± 0.21 | 4 | 96.30 |" in published.markdown(found)


def test_layout_says_data_length_and_selection_beside_each_of_ours() -> None:
    ours = _records("train.epochs=10", "train.cooldown_epochs=0", "train.select=best")
    ours = replace(ours, frame=ours.frame.assign(**{"metrics.data.train_images": 54000.0}))
    page = published.markdown(layout("table1", [ours]))
    assert "cct_7_3x1: cifar10; 10 epochs of 54,000 images; epoch chosen by validation; n 4" in page


@pytest.mark.parametrize("table", published.TITLES)
def test_layout_puts_each_rule_by_the_values_that_it_covers(table: str) -> None:
    found = layout(table, [])
    page = published.markdown(found)
    letters = dict(re.findall(r"^- ([a-z]): (.*)$", page, flags=re.MULTILINE))
    every = {(one.origin, one.verified, one.rule.said) for line in found.lines for one in line.printed.values()}
    assert len(letters) == (len(every) if len(every) > 1 else 0)
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")][2:]
    for line, row in zip(found.lines, rows, strict=True):
        for n, head in enumerate(found.columns):
            if (one := line.printed.get(head)) is not None:
                value, *marks = row[len(found.labels) + 2 * n].split()
                rule = f"{one.origin} ({'verified' if one.verified else 'not verified'}): {one.rule.said}"
                assert value == one.value and ("?" in marks) == (not one.verified)
                assert letters[marks[-1]] == rule if letters else f"- {rule}" in page


def test_layout_has_published_parameters_and_macs_with_ours_beside() -> None:
    ours = _records(**{"metrics.cost.params": 3760522.0, "metrics.cost.macs": 946.9e6})
    page = published.markdown(layout("table1", [ours]))
    assert "| M params published | ours | G MACs published | ours |" in page
    assert page.split("| CCT-7/3x1 |")[1].splitlines()[0].endswith("| 3.76 | 3.761 [1] | 1.19 | 0.947 [1] |")
    assert page.split("| Proxyless-G |")[1].splitlines()[0].endswith("| 5.7 |  |  |  |")
    steps = published.markdown(layout("vit_to_cct_steps", []))
    assert steps.split("| CVT-7/2 |")[1].splitlines()[0].endswith("| 3.76 ? |  | 1.18 ? |  |")
    assert "| 22.36 |  | 5.53 |  |" in published.markdown(layout("imagenet", []))
    assert "M params" not in published.markdown(layout("pe_ablation", []))


def test_layout_claims_nothing_from_a_row_that_nobody_verified() -> None:
    base = (*PAPER[:2], "model=cct_7_3x1", "model.positional=sine", *PAPER[3:])
    placed = _placed("pe_ablation", _records(base=base, table="pe_ablation"))
    ((labels, _, ours),) = placed
    assert labels == ("CCT-7/3x1", "sinusoidal", "yes(dagger)")
    assert ours.difference is None and "the published row is not verified" in ours.differs
    page = published.markdown(layout("pe_ablation", []))
    assert "| CCT-7/3x1 | sinusoidal | yes(dagger) | 96.27 ? c |" in page
    assert "| CCT-7/3x1 | learnable | yes(dagger) | 96.53 b |" in page
    assert "nobody has held against the paper" in page


def test_layout_tells_runs_with_augmentation_from_those_without() -> None:
    base = ("data=cifar10", "model=cct_7_3x2", "recipe=none")
    plain = _placed("pe_ablation", _records(base=base, table="pe_ablation"))
    assert [labels for labels, _, _ in plain] == [("CCT-7/3x2", "learnable", "no")]
    augmented = _placed("pe_ablation", _records(base=(*base, "augment=paper"), table="pe_ablation"))
    assert [labels for labels, _, _ in augmented] == [("CCT-7/3x2", "learnable", "yes(dagger)")]


def test_layout_tells_longer_trainings_by_their_epochs() -> None:
    base = (*PAPER[:2], "model=cct_7_3x1", "model.positional=sine", "train.epochs=1500")
    ((labels, _, ours),) = _placed("longer_training", _records(base=base, table="longer_training"))
    assert labels == ("CCT-7/3x1", "1500", "sinusoidal")
    assert ours.difference is None and "the published number's runs are not stated" in ours.differs


@pytest.mark.parametrize("table", published.TITLES)
def test_layout_has_every_published_number_and_blanks_for_what_was_not_run(table: str) -> None:
    found = layout(table, [])
    numbers = [one.value for line in found.lines for one in line.printed.values()]
    printed = [value for row in paper.rows(table) for key, value in row.items() if key.endswith("top1_pct") and value]
    assert sorted(numbers) == sorted(printed)
    page = published.markdown(found)
    assert "blank: not run" in page and " 0.00 " not in page
    read = json.loads(json.dumps(published.content(found)))
    assert len(read["lines"]) == len(paper.rows(table))


def test_layout_names_every_model_of_a_named_row_that_can_be_built() -> None:
    for table in published.TITLES:
        for line in layout(table, []).lines:
            for one in line.printed.values():
                if one.name is not None:
                    assert published._model(one.name, one.positional, one.pooling)


# ------------------------------------------------------------------------------------------------------------- the verb


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    write(_records(), tmp_path / "records" / "ours.jsonl")
    return tmp_path / "records", tmp_path / "tables"


def _tables(folders: tuple[Path, Path], *words: str) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(["tables", f"records={folders[0]}", f"out={folders[1]}", *words])
    return int(str(stop.value.code))


def test_tables_are_made_once_and_checked(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert _tables(folders, "check=true") == 1
    assert _tables(folders) == 0
    assert "14 pages" in capsys.readouterr().out
    assert _tables(folders, "check=true") == 0
    assert _tables(folders) == 0
    assert "0 changed" in capsys.readouterr().out
    page = folders[1] / "paper_table1.md"
    page.write_text(page.read_text("utf-8").replace("-0.23", "+0.23"), "utf-8")
    assert _tables(folders, "check=true") == 1
    assert "ablate tables: paper_table1.md" in capsys.readouterr().out


def test_tables_remove_their_own_pages_and_nobody_elses(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write(_records(), folders[0] / "gone.jsonl")
    assert _tables(folders) == 0
    (folders[0] / "gone.jsonl").unlink()
    page = (folders[1] / "paper_table1.md").read_text("utf-8")
    (folders[1] / "paper_gone.md").write_text(page, "utf-8")
    data = json.loads((folders[1] / "paper_table1.json").read_text("utf-8"))
    (folders[1] / "paper_gone.json").write_text(json.dumps({**data, "name": "gone"}), "utf-8")
    own = {"thesis.md": "# mine", "settings.json": "{}", "list.json": "[1]", "notes.json": '{"notes": ["a"]}'}
    own |= {"broken.json": "{", "paper_draft.md": "# mine", "gone.txt": "x"}
    for name, text in own.items():
        (folders[1] / name).write_text(text, "utf-8")
    capsys.readouterr()
    assert _tables(folders, "check=true") == 1
    assert "tables: gone.json, gone.md, paper_gone.json, paper_gone.md, paper_table1.json" in capsys.readouterr().out
    assert _tables(folders) == 0
    assert "6 changed" in capsys.readouterr().out
    assert {path.name for path in folders[1].iterdir()} == {*own, *tables.pages(folders[0])}
    assert {name: (folders[1] / name).read_text("utf-8") for name in own} == own


def test_tables_write_over_no_file_that_is_not_theirs(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folders[1].mkdir()
    (folders[1] / "ours.md").write_text("# mine", "utf-8")
    assert _tables(folders) == 2
    assert "ours.md is free" in capsys.readouterr().err
    assert [path.name for path in folders[1].iterdir()] == ["ours.md"]
    (folders[1] / "file").write_text("")
    assert _tables((folders[0], folders[1] / "file" / "tables")) == 2
    assert "must be a folder that can be written to" in capsys.readouterr().err


def test_tables_say_what_is_wrong(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert _tables(folders, "chekc=true") == 2
    assert "check" in capsys.readouterr().err
    assert _tables(folders, "check=maybe") == 2
    assert _tables(folders, "out=") == 2  # and not the working directory
    assert _tables((folders[1], folders[1])) == 2
    assert "python -m ablate export" in capsys.readouterr().err


def test_tables_of_the_repository_are_current() -> None:
    root = Path(__file__).parents[3]
    made = tables.pages(root / tables.RECORDS)
    here = {
        name: text.replace((root / tables.RECORDS).as_posix(), tables.RECORDS.as_posix()) for name, text in made.items()
    }
    assert tables.stale(here, root / tables.TABLES) == [], "python -m ablate tables"
