"""A learning-rate range test: one short training whose rate rises exponentially, until the loss diverges.

Source: Smith 2017, Cyclical Learning Rates for Training Neural Networks, arXiv 1506.01186, section 3.3, with an
exponential rise instead of a linear one.
"""

import csv
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

if TYPE_CHECKING:
    from ablate.tasks.classify.spec import RunSpec

DIVERGED = 4.0
"""Multiple of the lowest loss at which the test ends; both are means over a few steps."""

BELOW_MINIMUM = 10.0
"""How far below the loss's minimum the second suggestion stands: at the minimum itself, training is about to fail."""

ROWS = 12
"""Rows of the printed table."""


MOST_STEPS = 1_000_000


class RangeError(ValueError):
    """Rates or steps that make no range test; one sentence."""


@dataclass(frozen=True)
class Ramp:
    """The rates of a range test.

    Attributes:
        steps: Updates, if none diverges.
        low: Learning rate of the first update.
        high: Learning rate of the last update.
    """

    steps: int = 200
    low: float = 1e-6
    high: float = 10.0

    def check(self) -> None:
        """Raises RangeError for a ramp that cannot show a curve."""
        if not 20 <= self.steps <= MOST_STEPS:
            raise RangeError(f"steps must be at least 20 and at most {MOST_STEPS:,}, got {self.steps:,}.")
        if not 0 < self.low < self.high < math.inf:
            raise RangeError(f"low must be above 0 and below high, got low={self.low:g} and high={self.high:g}.")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Ramp":
        """A ramp from what a command line says of it.

        Raises:
            RangeError: A value is no number, or makes no ramp.
        """
        for name, value in given.items():
            kinds = (int,) if name == "steps" else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise RangeError(f"{name} must be a {'whole ' if name == 'steps' else ''}number, got {value!r}.")
        ramp = cls(**given)
        ramp.check()
        return ramp

    @property
    def rates(self) -> list[float]:
        """One a step, each the same multiple of the one before."""
        return [float(rate) for rate in np.geomspace(self.low, self.high, self.steps)]

    @property
    def window(self) -> int:
        """Steps over which a loss is averaged: a twentieth of all."""
        return max(3, self.steps // 20)


@dataclass(frozen=True)
class Curve:
    """What a range test measured.

    Attributes:
        rates: ``(steps,)``, learning rate of each step that was taken.
        losses: ``(steps,)``, loss of each step's batch, before the step moved the weights.
        smoothed: ``(steps,)`` centred mean of the losses, each counted as at most where the test ends.
        diverged: Whether it ended before the highest rate.
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    diverged: bool

    @property
    def lowest(self) -> int:
        """Step of the lowest smoothed loss."""
        return int(np.argmin(self.smoothed))

    @property
    def fell(self) -> bool:
        """Whether the smoothed loss fell by more than twice what the losses scatter about it on the way down."""
        scatter = float(np.std(self.losses[: self.lowest + 1] - self.smoothed[: self.lowest + 1]))
        return bool(self.smoothed[0] - self.smoothed[self.lowest] > 2 * scatter)

    @property
    def steepest(self) -> float:
        """Rate below the minimum's at which the smoothed loss falls fastest, by the rate's logarithm."""
        slope = np.gradient(self.smoothed, np.log(self.rates))
        return float(self.rates[int(np.argmin(slope[: self.lowest + 1]))])

    @property
    def minimum(self) -> float:
        """Rate of the lowest smoothed loss."""
        return float(self.rates[self.lowest])


def measure(ramp: Ramp, losses: Callable[[Iterable[float]], Iterable[float]]) -> Curve:
    """Takes the steps of a ramp until the loss diverges or the ramp ends.

    Args:
        ramp: Learning rates of the steps.
        losses: Trains one step at each rate and yields the losses, as ``Trainer.losses_at`` does.

    Raises:
        RangeError: The ramp makes no sense, or the loss is no number before anything can be told.
    """
    ramp.check()
    told: list[float] = []
    lowest, diverged = math.inf, False
    for loss in losses(ramp.rates):
        if not math.isfinite(loss):
            diverged = True
            break
        told.append(loss)
        recent = float(np.mean(told[-ramp.window :]))
        if diverged := recent > DIVERGED * lowest:
            break
        if len(told) >= ramp.window:
            lowest = min(lowest, recent)
    if len(told) < ramp.window:
        raise RangeError(
            f"the loss must be a number at the lowest rates, but at step {len(told) + 1} was none; lower low."
        )
    return _curve(ramp, np.array(told), DIVERGED * lowest, diverged)


def measure_run(spec: "RunSpec", ramp: Ramp) -> Curve:
    """The range test of a run's model on its data, by its rule but for the rates: batch, decay, augmentation, seeds.

    Raises:
        DataError, WeightsError, SpecError, TrainError: The run could not be trained either.
        RangeError: The ramp makes no sense, or the loss is no number before anything can be told.
    """
    from ablate.tasks.classify.run import Workbench
    from ablate.training.hardware import prepare

    prepare(spec.hardware)
    workbench = Workbench()
    splits = workbench.splits(spec.data)
    trainer = workbench.bench(spec, splits).trainer
    return measure(ramp, lambda rates: trainer.losses_at(splits, spec.train, spec.seeds, rates, augment=spec.augment))


def _curve(ramp: Ramp, losses: NDArray[np.float64], limit: float, diverged: bool) -> Curve:
    """A centred mean: one over past steps alone lags behind, and would suggest too high a rate."""
    smoothed = ndimage.gaussian_filter1d(np.minimum(losses, limit), ramp.window / 2, mode="nearest")
    return Curve(np.array(ramp.rates[: len(losses)]), losses, smoothed, diverged)


def told(curve: Curve) -> list[str]:
    """For people: a short table, and what follows from it."""
    lines = [f"{'learning rate':>13}{'loss':>12}{'smoothed':>12}"]
    for i in np.unique(np.linspace(0, len(curve.rates) - 1, ROWS).round().astype(int)):
        lines.append(f"{curve.rates[i]:>13.2e}{curve.losses[i]:>12.4g}{curve.smoothed[i]:>12.4g}")
    end = "diverged and stopped there" if curve.diverged else "did not diverge up to there"
    return [*lines, "", f"{len(curve.rates)} steps, up to {curve.rates[-1]:.2e}: the loss {end}.", *_suggested(curve)]


def _suggested(curve: Curve) -> list[str]:
    if not curve.fell:
        return [
            "The loss fell by no more than it scatters, so nothing is suggested: take more steps, or a wider range."
        ]
    lines = [
        f"steepest descent at {curve.steepest:.1e}; lowest at {curve.minimum:.1e}, a tenth of which is "
        f"{curve.minimum / BELOW_MINIMUM:.1e}.",
        "Either is a place to start a search for train.lr, no more: one seed, no schedule, and training loss alone.",
    ]
    if not curve.diverged:
        lines.append("The lowest may lie higher, since nothing diverged: raise high to see.")
    return lines


def make(folder: Path) -> None:
    """Makes the folder that a test's results are for, and tries it, before anything trains.

    Raises:
        RangeError: The folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from None


def _unwritable(folder: Path, error: OSError) -> RangeError:
    return RangeError(f"out must name a folder that can be written to, but {folder}: {error.strerror}.")


def write(curve: Curve, folder: Path) -> list[Path]:
    """Writes ``lr_range.csv`` and ``lr_range.png``.

    Returns:
        Their paths.

    Raises:
        RangeError: The folder cannot be written to.
    """
    paths = [folder / "lr_range.csv", folder / "lr_range.png"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(paths[0], "w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["step", "lr", "loss", "smoothed"])
            steps = range(1, len(curve.rates) + 1)
            rows.writerows(zip(steps, curve.rates, curve.losses, curve.smoothed, strict=True))
        _draw(curve, paths[1])
    except OSError as error:
        raise _unwritable(folder, error) from None
    return paths


def _draw(curve: Curve, path: Path) -> None:
    import ablate.report.pages.fonts  # noqa: F401, I001  before matplotlib
    import seaborn
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with seaborn.axes_style("whitegrid"):
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        axes = FigureCanvasAgg(figure).figure.subplots()
    axes.plot(curve.rates, curve.losses, color="0.75", linewidth=1, label="loss of a step's batch")
    axes.plot(curve.rates, curve.smoothed, label="smoothed")
    if curve.fell:
        for rate, name, style in (
            (curve.steepest, "steepest descent", "--"),
            (curve.minimum / BELOW_MINIMUM, "a tenth of the lowest's", ":"),
        ):
            axes.axvline(rate, color="black", linestyle=style, linewidth=1, label=f"{name}, {rate:.1e}")
    low, high = float(curve.smoothed.min()), float(curve.smoothed.max())
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss")
    axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
    axes.legend()
    figure.savefig(path, dpi=150)
