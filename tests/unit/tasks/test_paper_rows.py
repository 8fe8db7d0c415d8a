"""What the published tables say of themselves: which numbers a second source confirms, contradicts or leaves open."""

import csv
from pathlib import Path

import pytest

from ablate.models import zoo
from ablate.tasks.classify import paper
from ablate.tasks.classify.paper import PaperError, second
from ablate.tasks.classify.published_numbers import NOTES, TITLES, columns, printed

TEN, HUNDRED = "CIFAR-10_top1_pct", "CIFAR-100_top1_pct"


def _one(table: str, **words: str) -> dict[str, str]:
    (row,) = [row for row in paper.rows(table) if all(row[key] == word for key, word in words.items())]
    return row


def _both(row: dict[str, str]) -> tuple[str, str]:
    return row[TEN], row[HUNDRED]


def _seconds(row: dict[str, str]) -> tuple[str, str]:
    return second(row, TEN), second(row, HUNDRED)


TUNED = {"augmentation": "yes", "tuning": "yes"}
PLAIN = {"augmentation": "no", "tuning": "no"}


@pytest.mark.parametrize(
    ("model", "verified", "numbers", "others"),
    [
        ("CVT-7/4", "yes", ("92.43", "73.01"), ("92.43", "73.01")),
        ("CCT-7/3x2", "yes", ("93.65", "74.77"), ("93.65", "74.77")),
        ("CCT-7/3x1", "contradicted", ("94.47", "75.59"), ("94.72", "76.67")),
        ("CCT-7/7x1", "no", ("92.29", "72.46"), ("", "")),
    ],
)
def test_steps_with_tuning_stand_as_the_first_readme_leaves_them(
    model: str, verified: str, numbers: tuple[str, str], others: tuple[str, str]
) -> None:
    row = _one("vit_to_cct_steps", model=model, **TUNED)
    assert (row["verified"], _both(row), _seconds(row)) == (verified, numbers, others)
    first = [
        _both(each) for each in paper.rows("readme_history") if (each["section"], each["model"]) == ("Results", model)
    ]
    assert first == ([others] if verified != "no" else [])
    assert ("README, its first table" in row["second"]) == (verified != "no")


def test_transcriptions_of_one_number_are_held_against_each_other() -> None:
    """Every model that is in both ablations without augmentation: the same in both, or marked in both."""
    names = {"CCT-7/7": "CCT-7/7x1"}
    found = {}
    for row in paper.rows("pe_ablation"):
        if (row["positional_embedding"], row["extra_augmentation_and_tuning"]) != ("learnable", "no"):
            continue
        model = names.get(row["model"], row["model"])
        for other in paper.rows("vit_to_cct_steps"):
            if other["model"] == model and other["augmentation"] == other["tuning"] == "no":
                assert _seconds(row) == _both(other) and _seconds(other) == _both(row)
                assert row["verified"] == other["verified"] == ("no" if _both(row) == _both(other) else "differs")
                found[model] = row["verified"]
    assert found == {"ViT-12/16": "no", "ViT-Lite-7/8": "no", "CVT-7/8": "no", "CCT-7/7x1": "differs"}
    assert _both(_one("pe_ablation", model="CCT-7/7", positional_embedding="learnable")) == ("82.03", "63.01")
    assert _both(_one("vit_to_cct_steps", model="CCT-7/7x1", **PLAIN)) == ("87.81", "62.83")


def test_confirmed_rows_of_the_positional_embeddings_are_table_1s() -> None:
    confirmed = [row for row in paper.rows("pe_ablation") if row["verified"] == "yes"]
    assert [row["model"] for row in confirmed] == ["CCT-7/3x2", "CCT-7/3x1"]
    for row in confirmed:
        assert _both(row) == _both(_one("table1", model=row["model"])) == _seconds(row)


def test_lengths_of_table_1_are_those_of_longer_training() -> None:
    """CCT-7/3x1* has a number after 5000 epochs beside one after 1500: each is found under its own length."""
    told = [row for row in paper.rows("table1") if row["CIFAR-10_epochs"]]
    assert [row["model"] for row in told] == ["CCT-7/3x1", "CCT-7/3x1*"]
    for row in told:
        for key in (TEN, HUNDRED):
            epochs = row[key.replace("top1_pct", "epochs")]
            longer = _one("longer_training", model="CCT-7/3x1", epochs=epochs)
            assert longer[key] == row[key] == second(row, key) == second(longer, key)
            assert longer["positional_embedding"] == row["positional_embedding"]
    starred = told[1]
    assert (starred["CIFAR-10_epochs"], starred["CIFAR-100_epochs"]) == ("5000", "1500")
    assert starred["positional_embedding"] == "sinusoidal" and "two lengths" in starred["note"]
    said = [
        printed("table1", starred, key, source).rule.said for key, (_, source) in list(columns("table1").items())[:2]
    ]
    assert "5000 epochs, sinusoidal" in said[0] and "1500 epochs, sinusoidal" in said[1]


def test_costs_that_a_second_source_prints_are_those_of_table_1() -> None:
    table = {row["model"]: (row["params_M"], row["MACs_G"]) for row in paper.rows("table1")}
    for row in paper.rows("vit_to_cct_steps"):
        same = table.get(row["model"]) == (row["params_M"], row["MACs_G"])
        assert bool(row["costs_second"]) == same == paper.cost_verified(row), row["model"]


def test_numbers_of_other_papers_are_not_called_the_best_of_4() -> None:
    for model, error in (("ResNet1k-v2*", 4.62), ("Proxyless-G", 2.08)):
        row = _one("table1", model=model)
        assert float(row[TEN]) == pytest.approx(100 - error) and second(row, TEN) == row[TEN]
        rule = printed("table1", row, TEN, "cifar10").rule
        assert rule.runs is None and "its own paper" in rule.said


def test_imagenet_says_that_an_accuracy_and_its_macs_are_of_two_resolutions() -> None:
    row = _one("imagenet", model="ViT-12/16")
    assert row["resolution"] == "384" and row["MACs_G"] == "17.6" and "224x224" in row["note"]


def test_text_says_that_it_is_partial() -> None:
    rows = paper.rows("nlp")
    missing = {"SST", "IMDb", "DBpedia"}
    assert not any(name in column for name in missing for column in rows[0])
    assert all(row["note"].startswith("partial: ") and all(name in row["note"] for name in missing) for row in rows)
    for row in rows[:9]:
        for old in rows[9:]:
            if (row["model"], row["kernel"]) == (old["model"], old["kernel"]):
                assert all(
                    old[key] == row[key] or old[key] in row["note"] for key in ("AGNews_acc_pct", "TREC_acc_pct")
                )


def test_a_number_is_verified_only_where_its_row_is() -> None:
    for table in TITLES:
        for row in paper.rows(table):
            for key, (_, source) in columns(table).items():
                if row.get(key):
                    one = printed(table, row, key, source)
                    assert one.verified == (row["verified"] == "yes") and one.standing == row["verified"]
                    assert (second(row, key) in one.evidence) or one.verified or row["verified"] == "no"


HEAD = "model,CIFAR-10_top1_pct,params_M,source,verified,second,CIFAR-10_second_pct,costs_second"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("m,90.1,1,,yes,,,", "source must name where the row is printed"),
        ("m,90.1,1,paper,perhaps,,,", "verified must be yes, no, contradicted or differs, got 'perhaps'"),
        ("m,90.1,1,paper,yes,README,90.2,", "verified must be contradicted by the second values, got yes"),
        ("m,90.1,1,paper,no,README,90.2,", "verified must be contradicted by the second values, got no"),
        ("m,90.1,1,paper,contradicted,README,90.1,", "verified must be yes by the second values, got contradicted"),
        ("m,90.1,1,paper,contradicted,,,", "verified must be"),
        ("m,90.1,1,paper,differs,README,90.2,", "verified must be contradicted by the second values, got differs"),
        ("m,90.1,1,paper,no,transcription of it,90.2,", "verified must be differs by the second values, got no"),
        ("m,90.1,1,paper,yes,transcription of it,90.1,", "verified must be no by the second values, got yes"),
        ("m,90.1,1,paper,yes,README,,", "second must name a source exactly where a second value stands"),
        ("m,90.1,1,paper,yes,,90.1,", "second must name a source exactly where a second value stands"),
        ("m,,1,paper,yes,README,90.1,", "a second value must stand beside a first one"),
        ("m,90.1,,paper,yes,,,Table 1", "costs_second must belong to parameters or MACs"),
    ],
)
def test_reading_refuses_a_row_that_contradicts_itself(
    line: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "table1.csv").write_text(f"{HEAD}\nm,90.1,1,paper,yes,README,90.1,Table 1\n{line}\n", "utf-8")
    monkeypatch.setattr(paper, "files", lambda _: tmp_path)
    with pytest.raises(PaperError, match=r"^table1\.csv, line 3: ") as refused:
        paper.rows("table1")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "line",
    [
        "m,90.1,1,paper,no,,,",
        "m,90.1,1,paper,no,transcription of it,90.1,Table 1",
        "m,90.1,1,paper,contradicted,README,90.2,",
        "m,90.1,1,paper,differs,transcription of it,90.2,",
    ],
)
def test_reading_takes_every_kind_of_row(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "table1.csv").write_text(f"{HEAD}\n{line}\n", "utf-8")
    monkeypatch.setattr(paper, "files", lambda _: tmp_path)
    (row,) = paper.rows("table1")
    assert row["model"] == "m"


def test_seconds_are_those_of_the_collected_sources(shared: Path) -> None:
    """Against the tables beside the checkout: what confirms or contradicts a step is in them."""
    text = (shared / "reference" / "paper" / "official_readme_history.csv").read_text("utf-8")
    first = {
        f"{row['model']}-{row['type']}": (row["CIFAR-10"], row["CIFAR-100"])
        for row in csv.DictReader(text.splitlines())
        if row["table"] == "Results"
    }
    for model in ("CVT-7/4", "CCT-7/3x2", "CCT-7/3x1"):
        assert _seconds(_one("vit_to_cct_steps", model=model, **TUNED)) == first[model]


def test_notes_on_how_macs_are_counted_say_what_our_count_gives() -> None:
    macs = zoo.parse("cct_7_3x1_32").spec.macs((32, 32, 3), 10)
    for table in ("table1", "vit_to_cct_steps"):
        (said,) = [note for note in NOTES[table] if "CCT-7/3x1" in note]
        assert f"{_one('table1', model='CCT-7/3x1')['MACs_G']} G there are {macs / 1e9:.3f} G here" in said
