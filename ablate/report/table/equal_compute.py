"""Readings at equal compute: validation accuracy of every run after so many epochs, training MACs or seconds.

One training per run serves all three, since its curve is there; a reading is the last epoch that ended within the
budget, never between two epochs. It is no run of that budget: the learning rate had not come down, unless the schedule
ended there, and what had not ended is marked. A run that ended while the budget had room for a further epoch spent less
than others: it is marked too, its cell gets no verdict, and a budget that no run reaches is refused.

Training MACs of an epoch are 3 x MACs of one image's forward pass x training images: the backward pass multiplies each
activation's and each weight's gradient, twice the forward pass. Validation, augmentation and the optimizer's own work
do not count, nor does what freezing saves.
Source of the factor: Kaplan et al. 2020, arXiv 2001.08361, section 2.1 (6 FLOPs a weight and token: 2 forward, 4 back).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ablate.report.errors import ReportError
from ablate.report.sources.records import Curves, Records, is_blank
from ablate.report.table import marks
from ablate.tracking.names import (
    AT,
    AT_VAL_TOP1,
    EPOCH_SECONDS,
    FINISHED,
    MACS,
    POINT,
    STATUS,
    TRAIN_EXAMPLES,
    VAL_TOP1_CURVE,
    metric_column,
    param_column,
    tag_column,
)

if TYPE_CHECKING:
    import pandas as pd

Unit = Literal["epoch", "macs", "seconds"]
UNITS: tuple[Unit, ...] = ("epoch", "macs", "seconds")

BACKWARD = 3
"""Training MACs of a step over those of its forward pass."""
CURVE = VAL_TOP1_CURVE
METRIC = AT_VAL_TOP1
READ, UNFINISHED, ENDED = (tag_column(f"{AT}{name}") for name in ("read", "unfinished", "ended"))
_SECONDS = EPOCH_SECONDS
IMAGES = metric_column(TRAIN_EXAMPLES)


@dataclass(frozen=True)
class ComputeBudget:
    """How much each run may have spent when it is read.

    Attributes:
        unit: Unit of compute.
        amount: Epochs, training MACs or seconds, above 0.
    """

    unit: Unit
    amount: float

    def __str__(self) -> str:
        amount = f"{self.amount:g}"
        return {
            "epoch": f"epoch {amount}",
            "macs": f"{amount} training MACs",
            "seconds": f"{amount} seconds of training",
        }[self.unit]


@dataclass(frozen=True)
class EpochReading:
    """One run, read at the last epoch that ended within a budget.

    Attributes:
        epoch: Last epoch that ended within the budget, from 1; 0 where none did.
        of: Number of epochs of the whole schedule.
        value: Validation top-1, percent, after the epoch; None where there is none.
        spent: Compute that the run had spent after the epoch, in the budget's unit.
        ended: The run had no further epoch, though the budget had room for one: it spent less than the budget.
    """

    epoch: int
    of: int
    value: float | None
    spent: float
    ended: bool = False

    @property
    def finished(self) -> bool:
        """Whether the schedule had ended, so that this is what a run of this length gives."""
        return self.epoch >= self.of


def parse(text: str) -> ComputeBudget:
    """Takes ``epoch:3``, ``macs:1e12`` or ``seconds:60``.

    Raises:
        ReportError: It is something else.
    """
    unit, _, number = text.partition(":")
    try:
        amount = float(number)
    except ValueError:
        amount = math.nan
    for known in UNITS:
        if unit == known and amount > 0 and math.isfinite(amount):
            return ComputeBudget(known, amount)
    raise ReportError(f"at must be epoch:N, macs:N or seconds:N with N above 0, got {text!r}; e.g. at=epoch:3.")


def reading(
    run: Mapping[str, Any], curves: Mapping[str, Sequence[float | None]], budget: ComputeBudget
) -> EpochReading:
    """What a run had reached when the budget was spent.

    Args:
        run: In the columns of ``tracking.read_runs``.
        curves: Metric -> its value after each epoch.
        budget: Compute at which the run is read.

    Raises:
        ReportError: The run has no validation curve, or does not say what an epoch of it costs.
    """
    values = curves.get(CURVE, ())
    if not values:
        raise ReportError(
            f"at={budget.unit} reads validation curves, and run {run['run_id']} has none: it held out no images "
            "(data.val_fraction)."
        )
    spent, epoch, limit = 0.0, 0, budget.amount * (1 + 1e-9)
    costs = _costs(run, curves, budget.unit, len(values))
    for cost in costs:
        if spent + cost > limit:
            break
        spent, epoch = spent + cost, epoch + 1
    ended = epoch == len(costs) and spent + sum(costs) / len(costs) <= limit
    return EpochReading(epoch, _schedule(run, len(values)), values[epoch - 1] if epoch else None, spent, ended)


def shared(records: Records, unit: Unit, *, images: int | None = None) -> ComputeBudget:
    """The largest budget that every finished run spent: what the cheapest of them cost in all.

    Args:
        records: The study that is read.
        unit: Unit of the budget.
        images: Training images of an epoch, for runs that do not record it.

    Raises:
        ReportError: No run is finished, or one does not say what an epoch of it costs.
    """
    frame, spent = _with_images(records.frame, images), []
    for run in frame[frame[tag_column(STATUS)] == FINISHED].to_dict("records"):
        mine = records.curves.get(run["run_id"], {})
        spent.append(sum(_costs(run, mine, unit, len(mine.get(CURVE, ())))))
    if not spent or not min(spent) > 0:
        raise ReportError(f"at={unit} needs finished runs with validation curves, got {len(spent)} finished runs.")
    return ComputeBudget(unit, min(spent))


def readable(records: Records, *, images: int | None = None) -> list[Unit]:
    """Units in which every finished run of a study says what its epochs cost; see ``shared``."""
    found: list[Unit] = []
    for unit in UNITS:
        try:
            shared(records, unit, images=images)
        except ReportError:
            continue
        found.append(unit)
    return found


def _costs(
    run: Mapping[str, Any], curves: Mapping[str, Sequence[float | None]], unit: Unit, epochs: int
) -> Sequence[float]:
    """What each epoch cost."""
    if unit == "epoch":
        return [1.0] * epochs
    if unit == "macs":
        needed = (metric_column(MACS), IMAGES)
        if any(is_blank(run.get(name)) for name in needed):
            raise ReportError(
                f"at=macs needs the MACs and the number of training images that runs record, and run {run['run_id']} "
                "lacks one: it is older than that; say images=N."
            )
        return [BACKWARD * float(run[needed[0]]) * float(run[needed[1]])] * epochs
    seconds = curves.get(_SECONDS, ())
    if len(seconds) == epochs and all(value is not None for value in seconds):
        return [float(value) for value in seconds if value is not None]
    last = run.get(metric_column(_SECONDS))
    if is_blank(last):
        raise ReportError(f"at=seconds needs the time of an epoch, and run {run['run_id']} records none.")
    return [float(str(last))] * epochs


def _schedule(run: Mapping[str, Any], epochs: int) -> int:
    """Epochs with cooldown, as planned; an early end is an unfinished schedule too."""
    named = [run.get(param_column(f"train.{name}")) for name in ("epochs", "cooldown_epochs")]
    planned = sum(count for value in named if isinstance(value, str) and (count := whole(value)) is not None)
    return planned or epochs


def whole(text: str) -> int | None:
    """A count that was recorded as text; None where it is none, or none that can be."""
    return int(text) if text.isdecimal() and len(text) < 10 else None


def read_at(
    frame: "pd.DataFrame", curves: Curves, budget: ComputeBudget, *, images: int | None = None
) -> tuple["pd.DataFrame", list[str]]:
    """Runs with their readings in place of their final results.

    Args:
        frame: Runs of one study.
        curves: Run id -> metric -> value after each epoch.
        budget: Compute at which the runs are read.
        images: Training images of an epoch, for runs that do not record it.

    Returns:
        The frame with the metric ``METRIC`` and what was read where, and notes for below the table.

    Raises:
        ReportError: A finished run cannot be read, or all had ended before the budget was spent.
    """
    frame = _with_images(frame, images)
    columns: dict[str, list[Any]] = {metric_column(METRIC): [], READ: [], UNFINISHED: [], ENDED: []}
    readings: list[EpochReading] = []
    assumed = 0
    for run in frame.to_dict("records"):
        if run.get(tag_column(STATUS)) != FINISHED or not isinstance(run.get(tag_column(POINT)), str):
            found, assumes = None, False
        else:
            mine = curves.get(run["run_id"], {})
            found = reading(run, mine, budget)
            assumes = budget.unit == "seconds" and len(mine.get(_SECONDS, ())) != len(mine[CURVE])
        readings += [] if found is None else [found]
        assumed += assumes
        columns[metric_column(METRIC)].append(math.nan if found is None or found.value is None else found.value)
        columns[READ].append(_told(found) if found and found.epoch else None)
        columns[UNFINISHED].append(str(not found.finished).lower() if found and found.epoch else None)
        columns[ENDED].append(str(found.ended).lower() if found else None)
    return frame.assign(**columns), [*_notes(budget, sum(not one.epoch for one in readings), assumed),
                                     *_ended(budget, readings)]  # fmt: skip


def _told(found: EpochReading) -> str:
    return f"epoch {found.epoch} of {found.of}{' (ended)' if found.ended else ''}"


def _ended(budget: ComputeBudget, readings: Sequence[EpochReading]) -> list[str]:
    """What is said of runs that had ended before.

    Raises:
        ReportError: All had.
    """
    ended = [one for one in readings if one.ended]
    if not ended:
        return []
    largest = f"at={budget.unit}:{min(one.spent for one in ended):.12g}"
    if len(ended) == len(readings):
        raise ReportError(
            f"at must be a budget that runs reach, got {budget}, and all {len(ended)} runs had ended with room for a "
            f"further epoch: the largest that all of them share is {largest}."
        )
    return [
        f"{marks.ENDED} {len(ended)} of {len(readings)} runs had ended before it and spent less: rows with one are in "
        f"no verdict; the largest budget that all runs share is {largest}"
    ]


def _with_images(frame: "pd.DataFrame", images: int | None) -> "pd.DataFrame":
    if images is None:
        return frame
    return frame.assign(**{IMAGES: frame[IMAGES].fillna(images) if IMAGES in frame else images})


def _notes(budget: ComputeBudget, short: int, assumed: int) -> list[str]:
    notes = [f"read at {budget}: each run after the last epoch that ended within it, from the curve of one training"]
    if budget.unit == "macs":
        notes.append("training MACs: 3 x MACs of a forward pass x training images, validation not counted")
    if budget.unit == "seconds":
        notes.append("seconds are those of the machine that trained, other work on it included")
    if assumed:
        notes.append(f"{assumed} runs record the seconds of their last epoch alone, which stand for each of theirs")
    if short:
        notes.append(f"{short} runs had not ended an epoch within it, and are blank")
    return notes
