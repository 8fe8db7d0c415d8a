"""What the command line can say, as dataclasses: a run, a sweep, where records are kept, what a report is told."""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from operator import attrgetter
from pathlib import Path
from typing import Any

from ablate.config.overrides import ConfigError
from ablate.config.overrides import parse_overrides as parse_overrides
from ablate.data.augment import AugmentSpec
from ablate.data.spec import DataSpec
from ablate.design.sweep import SweepSpec
from ablate.models import registry
from ablate.models.spec import ModelSpec
from ablate.paths import problem
from ablate.tracking import TrackingSpec, check_form, databases, redact_uri
from ablate.training.hardware import HardwareSpec
from ablate.training.spec import SeedSpec, TrainSpec

GROUPS = ("model", "data", "augment", "train", "recipe", "hardware", "tracking")


@dataclass
class RunSpec:
    """One point: all that can change its result.

    Attributes:
        seed: Fills in the seeds that are not set themselves.
        repeat: Keeps repeated runs of one seed apart, which show what the machine itself adds to the noise.
    """

    model: ModelSpec = field(default_factory=ModelSpec)
    data: DataSpec = field(default_factory=DataSpec)
    train: TrainSpec = field(default_factory=TrainSpec)
    hardware: HardwareSpec = field(default_factory=HardwareSpec)
    seed: int = 0
    seeds: SeedSpec = field(default_factory=SeedSpec)
    augment: AugmentSpec = field(default_factory=AugmentSpec)
    repeat: int = 0

    def leaves(self) -> dict[str, Any]:
        """Every leaf under its config name, e.g. ``{"model.positional": "none", …}``."""
        parts: dict[str, Any] = {part.name: getattr(self, part.name) for part in POINT_FIELDS}
        plain = {name: part if isinstance(part, int) else asdict(part) for name, part in parts.items()}
        return dict(_leaves(plain))

    def check_selection(self) -> None:
        """Raises TrainError where validation is to select, and ``data.val_fraction`` holds nothing out."""
        self.train.check_validation(self.data.val_fraction > 0)

    def modules(self) -> list[str]:
        """Modules outside the package that define the model's variants: a plugin's spec, and its layer."""
        entries = [registry.get(axis, getattr(self.model, axis)) for axis in registry.AXES]
        named = [e.layer.partition(":")[0] if isinstance(e.layer, str) else e.layer.__module__ for e in entries]
        every = sorted({*named, *(entry.spec.__module__ for entry in entries)})
        return [name for name in every if name.partition(".")[0] != "ablate"]


POINT_FIELDS = fields(RunSpec)


@dataclass
class StudySpec:
    """Where a sweep keeps its queue.

    Attributes:
        storage: Optuna storage URL: SQLite for the workers of one machine, PostgreSQL for those of several.
        heartbeat_seconds: How often a worker signs for its point. A point whose worker missed three is taken over.
    """

    storage: str = "sqlite:///optuna.db"
    heartbeat_seconds: int = 20

    def check(self) -> None:
        """Raises ConfigError for a queue that cannot be kept or watched; nothing is opened."""
        _check_number("study.heartbeat_seconds", self.heartbeat_seconds, 1, 3600)
        if reason := databases.ill_formed(self.storage, ("sqlite", "postgresql")):
            raise ConfigError(
                "study.storage must be a SQLite or PostgreSQL database (sqlite:///optuna.db, "
                f"postgresql+psycopg://…), got {redact_uri(self.storage)}: {reason}."
            )


class Engine(StrEnum):
    """Who starts a sweep's workers."""

    local = "local"
    ray = "ray"
    slurm = "slurm"


@dataclass
class Config(RunSpec):
    """All that the command line can say: a point, what is swept over it, and where things are kept.

    Attributes:
        plugins: The user's modules that register variants.
        workers: Processes of a sweep.
        engine: Who starts them: this process, a Ray cluster, SLURM.
        engine_options: What Ray or submitit take, e.g. ``{num_gpus: 1}`` or ``{slurm_partition: gpu}``.
        retries: How often a point that failed is tried again at once, where that may help (memory, files, network).
        fresh: Train a sweep's points anew, even where finished runs of the same identity are in the store.
        allow_inert: Train a sweep although levels of a factor are the same run under different names.
        calibrate: ``plan`` runs a few training steps of each distinct graph, to tell time and memory.
    """

    plugins: list[str] = field(default_factory=list)
    tracking: TrackingSpec = field(default_factory=TrackingSpec)
    study: StudySpec = field(default_factory=StudySpec)
    workers: int = 1
    engine: Engine = Engine.local
    engine_options: dict[str, Any] = field(default_factory=dict)
    retries: int = 0
    fresh: bool = False
    allow_inert: bool = False
    calibrate: bool = False
    sweep: SweepSpec | None = None

    def alone(self) -> RunSpec:
        """The run of a command that sweeps nothing, where a setting that nothing uses is a mistake.

        Raises:
            ConfigError: A key of a file of weights without the file; and as ``point``.
        """
        if self.model.weights_key and not self.model.weights:
            raise ConfigError(
                "model.weights_key must come with model.weights, the file that it chooses from, got "
                f"model.weights_key={self.model.weights_key} alone; add model.weights=FILE."
            )
        return self.point()

    def point(self) -> RunSpec:
        """The run alone, with the model's defaults filled in.

        Raises:
            ConfigError: ``repeat`` is negative, options have no names, or the file of weights is not there.
            HardwareError: Threads or devices are none, or beyond all machines.
            DataError: The augmentation makes no sense.
            TrainError: The training rule or a seed makes no sense.
            SpecError: The model cannot be built on any input.
        """
        if self.repeat < 0:
            raise ConfigError(f"repeat must be at least 0, got {self.repeat}.")
        for key in _PATHS:
            check_path(key, attrgetter(key)(self))
        for axis, options in self.model.options.items():
            if not isinstance(options, dict):
                raise ConfigError(
                    f"model.options.{axis} must have its options by name, got {options!r}; write "
                    f"model.options.{axis}.NAME=…"
                )
        self.hardware.check()
        self.augment.check()
        self.train.check()
        self.seeds.check()
        _check_readable("model.weights", self.model.weights)
        model, seeds = self.model.resolved(), self.seeds
        return RunSpec(model, self.data, self.train, self.hardware, self.seed, seeds, self.augment, self.repeat)

    def check_places(self) -> None:
        """What is no part of a run: where records and queue are kept, and who works. Nothing is opened.

        Raises:
            ConfigError: The queue's storage, or a number, makes no sense.
            TrackingError: The tracking store's URI, or the experiment's name, does.
        """
        check_form(self.tracking)
        self.study.check()
        if self.sweep is not None:
            _check_apart(self.tracking.resolved_uri(), self.study.storage)
        _check_number("workers", self.workers, 1, 10_000)
        _check_number("retries", self.retries, 0, 1_000)


def _check_apart(records: str, queue: str) -> None:
    """Raises ConfigError where MLflow and Optuna are given one database: each takes the other's tables for old ones."""
    kinds = ("sqlite", "postgresql")
    if databases.ill_formed(records, kinds) is None and databases.same(records, queue):
        raise ConfigError(
            "tracking.uri and study.storage must name two databases, since MLflow and Optuna each keep their own "
            f"version of one, got {redact_uri(records)} for both: set one of them to another."
        )


_PATHS = ("model.weights", "data.root", "data.cache")
"""Leaves of a point that name a file or a folder, and have no check of their own in ``point``."""


def check_path(key: str, path: str | None) -> None:
    """Raises ConfigError for what no file system can hold, before anything is looked for or made there."""
    if wrong := problem(key, path):
        raise ConfigError(wrong)


def _check_number(key: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ConfigError(f"{key} must be at least {least} and at most {most:,}, got {value:,}.")


def _check_readable(key: str, path: str | None) -> None:
    """Raises ConfigError for a file that cannot be read: before anything is imported, or trains."""
    if path and not (Path(path).expanduser().is_file() and os.access(Path(path).expanduser(), os.R_OK)):
        raise ConfigError(f"{key} must name a file that can be read, got {path!r} (looked from {os.getcwd()}).")


class Format(StrEnum):
    """How a table is written."""

    text = "text"
    md = "md"
    latex = "latex"
    csv = "csv"
    json = "json"
    html = "html"


@dataclass
class ReportConfig:
    """What ``report`` can be told.

    Attributes:
        tracking: Where the records are.
        format: ``text`` for a terminal; ``md``, ``latex``, ``csv``, ``json`` or ``html`` for a file.
        out: File to write; None prints.
        margin: Smallest difference of interest, in the metric's unit: what surely lies within it is called equivalent.
        alpha: Rate of false verdicts of the whole table: intervals are of 1 - alpha. Smaller for runs that are looked
            at more than once (``ablate.stats.verdicts.alpha_spending``).
        higher_is_better: Which way the metric is better; None goes by its name: less of a loss, an error or a time.
        blocks: Runs of one seed share split, subset and data order, and what these shift alike in all cells is taken
            out.
        source: A CSV file of anybody's runs, one a row; None reads the tracking store.
        factor: Columns that are compared, one or a list. Without a source: of the experiment's runs (NAME of a
            parameter, or params.NAME, tags.NAME).
        value: Column of the result (NAME or metrics.NAME of an experiment).
        seed: Column that tells runs of one cell apart; None numbers them.
        baseline: Factor -> the level that others are held against; the first, where it is not named.
        at: Reads validation curves at equal compute: ``epoch:3``, ``macs:1e12`` or ``seconds:60``.
        images: Training images of an epoch, for ``at=macs:…`` of runs that do not record it.
        license: Of a model card: a licence's name on the Hugging Face hub, such as ``mit``; None states none.
    """

    tracking: TrackingSpec = field(default_factory=TrackingSpec)
    format: Format = Format.text
    out: str | None = None
    margin: float | None = None
    alpha: float = 0.05
    higher_is_better: bool | None = None
    blocks: bool = False
    source: str | None = None
    factor: Any = None
    value: str | None = None
    seed: str | None = None
    baseline: dict[str, Any] = field(default_factory=dict)
    at: str | None = None
    images: int | None = None
    license: str | None = None


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
