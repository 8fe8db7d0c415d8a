"""A run's record -> the card of its model, as the Hugging Face hub reads it: metadata in YAML, then text.

Source of the fields: the hub's model card metadata (hub-docs, modelcard.md; task and metric ids as listed there).
Results are self-reported, so nothing sets ``verified``.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ablate import tracking
from ablate.config.recorded import as_yaml
from ablate.escaping import markdown, markdown_code, visible
from ablate.report.sources.records import Records, is_blank
from ablate.report.table.percentages import cut_estimate
from ablate.report.table.runs import Attempt, attempts, by_seed, counted
from ablate.report.table.table import ALPHA, METRIC, confidence
from ablate.stats.estimates import Estimate, mean_interval
from ablate.tracking import TrackingSpec
from ablate.tracking.names import (
    COMMIT,
    CPU,
    DATA_DIGEST,
    DIRTY,
    EPOCHS_TRAINED,
    FINISHED,
    IDENTITY,
    MACS,
    PARAM_COLUMN,
    PARAMS,
    POINT,
    SECONDS,
    STATUS,
    STUDY,
    TOKENS,
    TRAIN_EXAMPLES,
    TRAINABLE_PARAMS,
    VERSION,
    metric_column,
    param_column,
    tag_column,
)

_HUB = {
    "cifar10": ("uoft-cs/cifar10", "CIFAR-10"),
    "cifar100": ("uoft-cs/cifar100", "CIFAR-100"),
    "mnist": ("ylecun/mnist", "MNIST"),
    "fashion_mnist": ("zalando-datasets/fashion_mnist", "Fashion-MNIST"),
    "imagenet": ("ILSVRC/imagenet-1k", "ImageNet-1k"),
}
"""Data sets whose id on the hub is known; others are named as here, and linked to nothing."""
_SELECTED = {
    "best": "the epoch with the best validation accuracy",
    "last": "the last epoch",
    "test": "the epoch with the best test accuracy, so that the result flatters",
}
_RECIPE = (
    *("train.batch_size", "train.lr", "train.min_lr", "train.warmup_epochs", "train.weight_decay", "train.clip_norm"),
    *("train.label_smoothing", "train.ema_decay", "model.stochastic_depth", "model.dropout", "model.attention_dropout"),
)
_MODEL = (
    *("tokenizer", "kernel", "convs", "positional", "pooling", "attention", "norm", "activation", "mlp", "head"),
    *("layers", "dim", "heads", "mlp_ratio"),
)
_COSTS = {
    PARAMS: "parameters",
    TRAINABLE_PARAMS: "of them trained",
    MACS: "multiply-accumulates of one image's forward pass",
    TOKENS: "tokens",
    SECONDS: "seconds of training",
}


class CardError(ValueError):
    """A run that no card can be made of; one sentence."""


def from_store(where: TrackingSpec, run_id: str, *, license: str | None = None) -> str:
    """The card of a run in the tracking store.

    Raises:
        CardError: There is no such run, or it did not finish.
        TrackingError: The store cannot be read.
    """
    frame = tracking.read_runs(where)
    mine = frame[frame["run_id"] == run_id]
    study = None if mine.empty or tag_column(STUDY) not in mine else mine[tag_column(STUDY)].iloc[0]
    alpha = ALPHA
    if isinstance(study, str):
        frame = tracking.read_runs(where, study=study)
        known = (record.definition for record in tracking.list_studies(where) if record.study == study)
        alpha = next(known, {}).get("alpha", ALPHA)
    rows: list[dict[str, Any]] = frame.to_dict("records")
    return card(rows, run_id, where=tracking.redact_uri(where.resolved_uri()), license=license, alpha=alpha)


def from_records(records: Records, run_id: str, *, license: str | None = None) -> str:
    """The card of a run in a file of records.

    Raises:
        CardError: There is no such run, or it did not finish.
    """
    rows, alpha = records.frame.to_dict("records"), records.definition.get("alpha", ALPHA)
    return card(rows, run_id, where=records.source, license=license, alpha=alpha)


def card(
    rows: Sequence[Mapping[str, Any]], run_id: str, *, where: str, license: str | None, alpha: float = ALPHA
) -> str:
    """A card.

    Args:
        rows: The run and the runs that it is averaged with, in the columns of ``tracking.read_runs``.
        run_id: Id of the run.
        where: Store or file that the rows were read from, for the error.
        license: A licence's name on the hub; None states none.
        alpha: The interval is of 1 - alpha, as in the table of the run's study.

    Raises:
        CardError: There is no such run, or it did not finish.
    """
    row = next((row for row in rows if row["run_id"] == run_id), None)
    if row is None:
        raise CardError(f"card needs the id of a run that {where} holds, got {run_id!r}; report format=csv lists them.")
    value, status = row.get(metric_column(METRIC)), row.get(tag_column(STATUS))
    if status != FINISHED or value is None or not math.isfinite(value):
        raise CardError(f"card needs a run that finished and was tested, got {run_id}, which is {status}.")
    known = {key: value for key, value in row.items() if not is_blank(value)}
    estimate = _over_seeds(rows, known, alpha)
    name = _name(known)
    return "\n".join([_header(known, estimate, name, license), "", *_body(known, estimate, name, license, alpha)])


def _over_seeds(rows: Sequence[Mapping[str, Any]], row: Mapping[str, Any], alpha: float) -> Estimate:
    """Mean over the runs that differ from this one by seed alone; of a run by itself, its own result."""
    import pandas as pd

    value = float(row[metric_column(METRIC)])
    if tag_column(POINT) not in row:
        return mean_interval([value])
    levels = _levels(row[tag_column(POINT)])
    runs: list[Attempt] = counted(attempts(pd.DataFrame(rows)))
    mine = [run for run in runs if run.outcome == FINISHED and _levels(run.point) == levels]
    return cut_estimate(mean_interval(by_seed(mine).values(), confidence=1 - alpha))


def _levels(point: str) -> list[Any]:
    return [pair for pair in json.loads(point) if pair[0] not in ("seed", "repeat")]


def _param(row: Mapping[str, Any], name: str) -> str:
    return str(row.get(param_column(name), "not recorded"))


def _name(row: Mapping[str, Any]) -> str:
    """Family, depth, kernel and data, e.g. ``cct-2-3x2-mnist5k``."""
    conv = _param(row, "model.tokenizer") == "conv"
    family = "cct" if conv else "cvt" if _param(row, "model.pooling") == "seqpool" else "vit"
    kernel = f"{_param(row, 'model.kernel')}x{_param(row, 'model.convs')}" if conv else _param(row, "model.kernel")
    return f"{family}-{_param(row, 'model.layers')}-{kernel}-{_param(row, 'data.source')}"


# ------------------------------------------------------------------------------------------------------------ metadata


def _header(row: Mapping[str, Any], estimate: Estimate, name: str, license: str | None) -> str:
    source = _plain(_param(row, "data.source"))
    hub = _HUB.get(source)
    data = {"type": hub[0] if hub else source, "name": hub[1] if hub else source, "split": "test"}
    accuracy = float(row[metric_column(METRIC)]) / 100
    metrics: list[dict[str, Any]] = [{"type": "accuracy", "value": round(accuracy, 6), "name": "test top-1, this run"}]
    if estimate.n > 1:
        mean = f"test top-1, mean of {estimate.n} seeds"
        metrics.append({"type": "accuracy", "value": round(estimate.mean / 100, 6), "name": mean})
    task = {"type": "image-classification", "name": "Image classification"}
    head = {
        **({"license": _plain(license)} if license else {}),
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "tags": ["keras", "image-classification", "compact-transformer", "ablate"],
        **({"datasets": [hub[0]]} if hub else {}),
        "metrics": ["accuracy"],
        "model-index": [{"name": _plain(name), "results": [{"task": task, "dataset": data, "metrics": metrics}]}],
    }
    return f"---\n{as_yaml(head)}---"


def _plain(name: str) -> str:
    """A name that OmegaConf takes for no interpolation."""
    return visible(name).replace("${", "$ {")


# ---------------------------------------------------------------------------------------------------------------- text


def _body(row: Mapping[str, Any], estimate: Estimate, name: str, license: str | None, alpha: float) -> list[str]:
    study = row.get(tag_column(STUDY))
    parts = ", ".join(
        f"{part} {_param(row, f'model.{part}')}" for part in _MODEL if param_column(f"model.{part}") in row
    )
    of = f", of study {markdown_code(str(study))}" if study else ""
    run = markdown_code(str(row["run_id"]))
    return [
        f"# {markdown(name, begins=True)}", "", f"An image classifier trained with `ablate`, run {run}{of}.", "",
        "## Task and model", "", f"Image classification by a Compact Transformer: {markdown(parts)}.", "",
        "## Data", "", *_data(row), "", "## Recipe", "", *_recipe(row), "",
        "## Results", "", *_results(row, estimate, alpha), "", "## Cost", "", *_cost(row), "",
        "## Licence", "", _licence(license), "", "## How to load it", "", *_load(row), "",
        "## Reproduce", "", *_reproduce(row),
    ]  # fmt: skip


def _data(row: Mapping[str, Any]) -> list[str]:
    held, split = (markdown(_param(row, f"data.{name}")) for name in ("val_fraction", "split_seed"))
    source = markdown_code(_param(row, "data.source"))
    out = [f"- {source}; {held} of its training images held out for validation (split {split})"]
    if metric_column(TRAIN_EXAMPLES) in row:
        out.append(f"- {int(row[metric_column(TRAIN_EXAMPLES)]):,} images were trained on")
    out.append(f"- image size {markdown(_param(row, 'data.image_size'))} (null: as they are)")
    if digest := row.get(tag_column(DATA_DIGEST)):
        out.append(f"- sha256 over pixels, labels and split: {markdown_code(str(digest))}")
    return out


def _recipe(row: Mapping[str, Any]) -> list[str]:
    trained = row.get(metric_column(EPOCHS_TRAINED))
    epochs = f"{markdown(_param(row, 'train.epochs'))} epochs" + (f" ({int(trained)} trained)" if trained else "")
    select = markdown(_param(row, "train.select"))
    out = [f"- AdamW, cosine schedule, {epochs}; weights of {_SELECTED.get(select, select)}"]
    out += [f"- `{name}`: {markdown(_param(row, name))}" for name in _RECIPE if param_column(name) in row]
    augment = {
        key.removeprefix(PARAM_COLUMN): value for key, value in row.items() if key.startswith(param_column("augment."))
    }
    return [*out, *(f"- {markdown_code(name)}: {markdown(str(value))}" for name, value in sorted(augment.items()))]


def _results(row: Mapping[str, Any], estimate: Estimate, alpha: float) -> list[str]:
    value = float(row[metric_column(METRIC)])
    out = [f"| test top-1 % | n | {confidence(alpha)} interval over seeds |", "| ---: | ---: | ---: |"]
    out.append(f"| {value:.2f} (this run) | 1 | |")
    if estimate.low is not None and estimate.high is not None:
        interval = f"{estimate.low:.2f} to {estimate.high:.2f}"
        out.append(f"| {estimate.mean:.2f} (mean over seeds) | {estimate.n} | {interval} |")
    out += ["", "The interval (Student's t) covers what differs between seeds, not the sampling of the test images."]
    if _param(row, "train.select") == "test":
        out.append("The test set chose the epoch: new images would give less.")
    if estimate.n == 1:
        out.append("One run has no spread: how far another seed is from it is not known.")
    return out


def _cost(row: Mapping[str, Any]) -> list[str]:
    out = [
        f"- {words}: {row[metric_column(name)]:,.0f}" for name, words in _COSTS.items() if metric_column(name) in row
    ]
    if cpu := row.get(tag_column(CPU)):
        out.append(f"- trained on: {markdown(str(cpu))}")
    return out


def _licence(license: str | None) -> str:
    if license:
        stated = f"These weights: {markdown(license)}, as stated by whoever published this card."
        return f"{stated} The data has its own licence."
    return "Not stated: make the card with `license=NAME`, and look at what the licence of the data allows."


def _load(row: Mapping[str, Any]) -> list[str]:
    mean, std = (markdown(_param(row, f"data.{name}")) for name in ("mean", "std"))
    own = "the data set's own, which `ablate` knows or measures" if "null" in (mean, std) else "as below"
    return [
        "```python",
        "from ablate.models import load_model",
        "",
        'model = load_model("model.keras")  # the run\'s artifact',
        "logits = model(images)  # (batch, height, width, channels), float32",
        "```",
        "",
        f"Images are `(pixels / 255 - mean) / std`, mean {mean} and std {std} (null: {own}).",
    ]


def _reproduce(row: Mapping[str, Any]) -> list[str]:
    versions = {key.rpartition(".")[2]: value for key, value in row.items() if key.startswith(tag_column(VERSION))}
    out = ["- `config.yaml` among the run's artifacts is its whole configuration"]
    if versions:
        out.append("- " + markdown(", ".join(f"{name} {version}" for name, version in sorted(versions.items()))))
    out += [f"- identity {markdown_code(str(row[tag_column(IDENTITY)]))}"] if tag_column(IDENTITY) in row else []
    if commit := row.get(tag_column(COMMIT)):
        dirty = " with uncommitted changes" if row.get(tag_column(DIRTY)) == "true" else ""
        out.append(f"- commit {markdown_code(str(commit))}{dirty}")
    return out
