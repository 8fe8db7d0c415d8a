"""A model card: metadata that the hub reads, results that the records hold, and code that loads the model."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

from ablate.cli import main as cli
from ablate.report.sources.records import Records
from ablate.tasks.classify.card import CardError, card, from_records, from_store
from ablate.tracking import Store, TrackingSpec


def _row(level: str = "cct", seed: int = 0, value: float = 90.0, **more: Any) -> dict[str, Any]:
    return {
        "run_id": f"{level}{seed}",
        "status": "FINISHED",
        "tags.ablate.status": "finished",
        "tags.ablate.study": "pe-1234",
        "tags.ablate.point": json.dumps([["model", level], ["seed", seed]]),
        "params.model.tokenizer": "conv",
        "params.model.pooling": "seqpool",
        "params.model.layers": "2",
        "params.model.kernel": "3",
        "params.model.convs": "2",
        "params.data.source": "cifar10",
        "params.train.select": "best",
        "params.train.epochs": "4",
        "metrics.cost.params": 280651.0,
        "metrics.final.test_top1_percent": value,
        **more,
    }


def _card(rows: list[dict[str, Any]], run_id: str = "cct0", license: str | None = None) -> tuple[dict[str, Any], str]:
    text = card(rows, run_id, where="here", license=license)
    _, head, body = text.split("---\n", 2)
    return OmegaConf.to_container(OmegaConf.create(head)), body  # type: ignore[return-value]


ROWS = [_row(seed=seed, value=90.0 + seed) for seed in (0, 1, 2)] + [_row("vit", 0, 50.0)]


def test_card_metadata_has_the_fields_that_the_hub_requires() -> None:
    head, _ = _card(ROWS, license="mit")
    assert (head["license"], head["library_name"], head["pipeline_tag"]) == ("mit", "keras", "image-classification")
    assert head["datasets"] == ["uoft-cs/cifar10"] and head["metrics"] == ["accuracy"]
    (model,) = head["model-index"]
    assert model["name"] == "cct-2-3x2-cifar10"
    (result,) = model["results"]
    assert result["task"]["type"] == "image-classification"
    assert result["dataset"] == {"type": "uoft-cs/cifar10", "name": "CIFAR-10", "split": "test"}
    assert [(one["type"], one["value"]) for one in result["metrics"]] == [("accuracy", 0.9), ("accuracy", 0.91)]


def test_card_results_have_n_and_interval_over_the_seeds_of_that_point_alone() -> None:
    _, body = _card(ROWS)
    assert "| 90.00 (this run) | 1 | |" in body
    assert "| 91.00 (mean over seeds) | 3 | 88.52 to 93.48 |" in body  # 4.303 x 1 / sqrt(3)
    assert "280,651" in body


def test_card_says_what_stands_in_a_block() -> None:
    more = {"params.model.attention": "linear", "params.model.norm": "rms", "params.model.mlp": "gated"}
    assert "attention linear, norm rms, mlp gated," in _card([_row(**more)])[1]


def test_card_has_the_interval_of_its_study_s_alpha() -> None:
    body = card(ROWS, "cct0", where="here", license=None, alpha=0.01)
    assert "99 % interval over seeds" in body
    assert "| 91.00 (mean over seeds) | 3 | 85.27 to 96.73 |" in body  # 9.925 x 1 / sqrt(3)


def test_card_of_records_goes_by_the_alpha_that_the_sweep_declared(tmp_path: Path) -> None:
    found = Records("pe-1234", {"alpha": 0.01}, "", pd.DataFrame(ROWS), {}, "here")
    assert "99 % interval over seeds" in from_records(found, "cct0")


def test_card_of_a_run_alone_says_that_it_has_no_spread() -> None:
    row = _row()
    del row["tags.ablate.point"]
    head, body = _card([row])
    assert "One run has no spread" in body and "mean over seeds" not in body
    assert len(head["model-index"][0]["results"][0]["metrics"]) == 1


def test_card_says_what_flatters_and_what_is_not_stated() -> None:
    head, body = _card([_row(**{"params.train.select": "test", "params.data.source": "folder"})])
    assert "The test set chose the epoch" in body
    assert "Not stated: make the card with `license=NAME`" in body
    assert "license" not in head and "datasets" not in head


@pytest.mark.parametrize(
    ("rows", "run_id", "said"),
    [
        (ROWS, "cct9", "card needs the id of a run that here holds, got 'cct9'"),
        ([_row(**{"tags.ablate.status": "diverged"})], "cct0", "finished and was tested, got cct0, which is diverged"),
        ([_row(value=float("nan"))], "cct0", "finished and was tested"),
        ([_row(value=float("inf"))], "cct0", "finished and was tested"),
    ],
)
def test_card_refuses_a_run_without_a_result(rows: list[dict[str, Any]], run_id: str, said: str) -> None:
    with pytest.raises(CardError, match=said):
        _card(rows, run_id)


def test_card_reads_a_store_and_averages_over_its_study(tmp_path: Path) -> None:
    where = TrackingSpec(uri=f"sqlite:///{tmp_path}/mlflow.db")
    store = Store(where)
    parent = store.sweep_run("pe-1234", {"ablate.sweep": "{}"})
    for seed in (0, 1):
        point = json.dumps([["model", "cct"], ["seed", seed]])
        run = store.start_run("cct", {"data.source": "digits"}, {"ablate.study": "pe-1234", "ablate.point": point},
                              parent=parent)  # fmt: skip
        run.log({"final.test_top1_percent": 80.0 + seed})
        run.finish("finished")
    assert "| 80.50 (mean over seeds) | 2 |" in from_store(where, run.run_id)
    with pytest.raises(CardError, match="got 'nobody'"):
        from_store(where, "nobody")


def test_card_verb_writes_a_file_from_records(tmp_path: Path) -> None:
    records = Path(__file__).parents[3] / "docs" / "records" / "pe_type-mnist5k.jsonl"
    run_id = json.loads(records.read_text("utf-8").splitlines()[1])["run_id"]
    with pytest.raises(SystemExit) as stop:
        cli.main(["card", run_id, f"source={records}", f"out={tmp_path}/README.md", "license=mit"])
    assert not stop.value.code
    assert (tmp_path / "README.md").read_text("utf-8").startswith("---\nlicense: mit\n")


def test_card_shows_code_that_loads_a_saved_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    from ablate.models import zoo
    from ablate.models.classifier import build

    model = build(zoo.parse("cct_2_3x2").spec, (16, 16, 1), 3)
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 1)).astype("float32")
    model.save(tmp_path / "model.keras")
    monkeypatch.chdir(tmp_path)
    _, body = _card(ROWS)
    scope: dict[str, Any] = {"images": images}
    exec(body.split("```python\n")[1].split("```")[0], scope)
    np.testing.assert_allclose(np.asarray(scope["logits"]), np.asarray(model(images)), atol=1e-6)
