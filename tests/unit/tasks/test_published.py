"""Our runs beside published numbers: where they stand, what is said of them, and when there is a difference."""

import json
import re
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from ablate.config.compose import compose, to_config
from ablate.report.sources.records import Records
from ablate.tasks.classify import paper, published, published_text
from ablate.tasks.classify.published import Ours, layout
from ablate.tasks.classify.published_numbers import TITLES
from ablate.tracking import param_text

PAPER = ("recipe=paper_cifar", "data=cifar10", "model=cct_7_3x1", "augment.erasing_probability=0", "train.select=test")


def recorded(
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
    ((labels, head, ours),) = _placed("table1", recorded())
    assert (labels, head) == (("CCT-7/3x1",), "CIFAR-10")
    assert ours.differs == ()
    assert ours.best == pytest.approx(96.3) and ours.difference == pytest.approx(96.3 - 96.53)
    assert [run_id[:2] for run_id in ours.run_ids] == ["0a", "1a", "2a", "3a"]
    page = published_text.markdown(layout("table1", [recorded()]))
    assert "| 96.53 e | 96.15 ± 0.21 [1] | -0.23 [1] |" in page
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
    ((_, _, ours),) = _placed("table1", recorded(*words))
    assert ours.difference is None and ours.differs == (said,)
    page = published_text.markdown(layout("table1", [recorded(*words)]))
    assert f"no difference is given: {said}" in page and "difference |" not in page


def test_layout_needs_as_many_runs_as_the_best_was_taken_of() -> None:
    ((_, _, ours),) = _placed("table1", recorded(seeds=3))
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
    records = recorded()
    lacking = records.frame.drop(columns=[name for name in records.frame if name.startswith(gone)])
    ((_, _, ours),) = _placed("table1", replace(records, frame=lacking))
    assert ours.difference is None and len(ours.differs) == 1 and ours.differs[0].startswith(said)


def test_layout_takes_a_leaf_that_is_newer_than_the_runs_for_its_default() -> None:
    records = recorded()
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
    placed = _placed("table1", recorded(*words))
    assert not any(labels == ("CCT-7/3x1",) and head == "CIFAR-10" for labels, head, _ in placed)


def test_layout_lists_what_belongs_to_no_published_number() -> None:
    found = layout("table1", [recorded("data=mnist5k")])
    assert not any(line.ours for line in found.lines)
    assert [one.row for one in found.further] == ["cct_7_3x1"]
    told = "mnist5k | 300 epochs + 10 of cooldown; epoch chosen by the TEST set"
    assert f"| ours-1234 | cct_7_3x1 | {told} | 96.15 ± 0.21 | 4 | 96.30 |" in published_text.markdown(found)


def test_layout_says_data_length_and_selection_beside_each_of_ours() -> None:
    ours = recorded("train.epochs=10", "train.cooldown_epochs=0", "train.select=best")
    ours = replace(ours, frame=ours.frame.assign(**{"metrics.data.train_images": 54000.0}))
    page = published_text.markdown(layout("table1", [ours]))
    assert "cct_7_3x1: cifar10; 10 epochs of 54,000 images; epoch chosen by validation; n 4" in page


def test_layout_claims_nothing_from_a_row_that_nobody_verified() -> None:
    base = (*PAPER[:2], "model=cct_7_3x1", "model.positional=sine", *PAPER[3:])
    placed = _placed("pe_ablation", recorded(base=base, table="pe_ablation"))
    ((labels, _, ours),) = placed
    assert labels == ("CCT-7/3x1", "sinusoidal", "yes(dagger)")
    assert ours.difference is None and "the published row is not verified" in ours.differs
    page = published_text.markdown(layout("pe_ablation", []))
    assert "| CCT-7/3x1 | sinusoidal | yes(dagger) | 96.27 ? e |" in page
    assert "| CCT-7/3x1 | learnable | yes(dagger) | 96.53 d |" in page
    assert "nobody has held against the paper" in page


@pytest.mark.parametrize(
    ("verified", "second", "said", "mark"),
    [
        ("contradicted", "a README", "a second source contradicts the published row", "!"),
        ("differs", "transcription of a picture", "two transcriptions of the published row differ", "≠"),
    ],
)
def test_layout_gives_no_difference_from_a_number_that_something_contradicts(
    verified: str, second: str, said: str, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = paper.rows
    planted = {"verified": verified, "second": second, "CIFAR-10_second_pct": "96.35"}
    wrong = [
        row | planted if row["verified"] == "yes" and row["model"] == "CCT-7/3x1" else row
        for row in rows("pe_ablation")
    ]
    ours = recorded(table="pe_ablation")
    ((_, _, sound),) = _placed("pe_ablation", ours)
    assert sound.difference == pytest.approx(96.3 - 96.53)
    monkeypatch.setattr(paper, "rows", lambda table: wrong if table == "pe_ablation" else rows(table))
    ((_, _, one),) = _placed("pe_ablation", ours)
    assert one.difference is None and one.differs == (said,)
    page = published_text.markdown(layout("pe_ablation", [ours]))
    assert f"no difference is given: {said}" in page
    (letter,) = re.findall(rf"96\.53 {mark} ([a-z]) ", page)
    assert re.search(rf"^- {letter}: .*{second}, which has 96\.35 for CIFAR-10", page, flags=re.MULTILINE)


def test_layout_tells_runs_with_augmentation_from_those_without() -> None:
    base = ("data=cifar10", "model=cct_7_3x2", "recipe=none")
    plain = _placed("pe_ablation", recorded(base=base, table="pe_ablation"))
    assert [labels for labels, _, _ in plain] == [("CCT-7/3x2", "learnable", "no")]
    augmented = _placed("pe_ablation", recorded(base=(*base, "augment=paper"), table="pe_ablation"))
    assert [labels for labels, _, _ in augmented] == [("CCT-7/3x2", "learnable", "yes(dagger)")]


def test_layout_tells_longer_trainings_by_their_epochs() -> None:
    base = (*PAPER[:2], "model=cct_7_3x1", "model.positional=sine", "train.epochs=1500")
    ((labels, _, ours),) = _placed("longer_training", recorded(base=base, table="longer_training"))
    assert labels == ("CCT-7/3x1", "1500", "sinusoidal")
    assert ours.difference is None and "the published number's runs are not stated" in ours.differs


@pytest.mark.parametrize("table", TITLES)
def test_layout_has_every_published_number_and_blanks_for_what_was_not_run(table: str) -> None:
    found = layout(table, [])
    numbers = [one.value for line in found.lines for one in line.printed.values()]
    printed = [value for row in paper.rows(table) for key, value in row.items() if key.endswith("top1_pct") and value]
    assert sorted(numbers) == sorted(printed)
    page = published_text.markdown(found)
    assert "blank: not run" in page and " 0.00 " not in page
    read = json.loads(json.dumps(published_text.content(found)))
    assert len(read["lines"]) == len(paper.rows(table))


def test_layout_names_every_model_of_a_named_row_that_can_be_built() -> None:
    for table in TITLES:
        for line in layout(table, []).lines:
            for one in line.printed.values():
                if one.name is not None:
                    assert published._model(one.name, one.positional, one.pooling)
