"""What the command line can say beside a run: who works, where records and queue are kept, what a report is told.

What it can say of a run itself is the task's (``ablate.contract``), which puts both into one dataclass.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ablate.config.overrides import ConfigError
from ablate.contract import Run
from ablate.design.sweep import SweepSpec
from ablate.paths import problem
from ablate.tracking import TrackingSpec, check_form, databases, redact_uri


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
class EngineConfig:
    """What the command line can say of a command beside its run: what is swept, who works, and where things are kept.

    Attributes:
        plugins: The user's modules that register variants.
        tracking: Where records are kept.
        study: Where a sweep keeps its queue.
        workers: Processes of a sweep.
        engine: Who starts them: this process, a Ray cluster, SLURM.
        engine_options: What Ray or submitit take, e.g. ``{num_gpus: 1}`` or ``{slurm_partition: gpu}``.
        retries: How often a point that failed is tried again at once, where that may help (memory, files, network).
        fresh: Train a sweep's points anew, even where finished runs of the same identity are in the store.
        allow_inert: Train a sweep although levels of a factor are the same run under different names.
        calibrate: ``plan`` runs a few training steps of each distinct graph, to tell time and memory.
        sweep: What is swept; None trains one run.
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

    def point(self) -> Run:
        """The run alone, with its defaults filled in. The task's dataclass, which has the run's settings too, says how.

        Raises:
            ValueError: No such run is possible.
        """
        raise NotImplementedError

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


def check_path(key: str, path: str | None) -> None:
    """Raises ConfigError for what no file system can hold, before anything is looked for or made there."""
    if wrong := problem(key, path):
        raise ConfigError(wrong)


def _check_number(key: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ConfigError(f"{key} must be at least {least} and at most {most:,}, got {value:,}.")


class Format(StrEnum):
    """How a table is written."""

    text = "text"
    md = "md"
    latex = "latex"
    csv = "csv"
    json = "json"
    html = "html"


class Notes(StrEnum):
    """Which notes stand below a table in text, Markdown and LaTeX."""

    short = "short"
    full = "full"


@dataclass
class ReportConfig:
    """What ``report`` can be told.

    Attributes:
        tracking: Where the records are.
        format: ``text`` for a terminal; ``md``, ``latex``, ``csv``, ``json`` or ``html`` for a file.
        notes: ``short`` says how verdicts were made and what needs attention; ``full`` adds the method, the spread of
            the runs, F tests, a third interval, and where the records are. Page and JSON have all.
        out: File to write; None prints.
        margin: Smallest difference of interest, in the metric's unit: what surely lies within it is called equivalent.
            None takes what the sweep declared.
        alpha: Rate of false verdicts of the whole table: intervals are of 1 - alpha. Smaller for runs that are looked
            at more than once (``ablate.stats.verdicts.alpha_spending``). None takes what the sweep declared, else 0.05.
        scope: Whom verdicts speak for: ``population`` or ``these_images``. None takes what the sweep declared.
        compare: Axes or columns whose levels are compared, one or a list, the others being where. None takes what the
            sweep declared, else all.
        higher_is_better: Which way the metric is better; None goes by its name: less of a loss, an error or a time.
        blocks: Runs of one seed share split, subset and data order, and what these shift alike in all cells is taken
            out.
        max_diverged: Share of a level's runs, 0 to 1: a level of which more diverged is called neither better nor
            equivalent, and nothing beside such a baseline worse.
        source: A CSV file of anybody's runs, one a row; None reads the tracking store.
        factor: Columns that are compared, one or a list. Without a source, those of the experiment's runs (NAME of a
            parameter, or params.NAME, tags.NAME).
        value: Column of the result (NAME or metrics.NAME of an experiment).
        seed: Column that tells runs of one cell apart; None numbers them.
        baseline: Factor -> the level that others are held against; the first, where it is not named.
        at: Reads validation curves at equal compute: ``epoch:3``, ``macs:1e12`` or ``seconds:60``.
        images: Training images of an epoch, for ``at=macs:…`` of runs that do not record it.
        license: Licence of a model card, by its name on the Hugging Face hub, such as ``mit``; None states none.
    """

    tracking: TrackingSpec = field(default_factory=TrackingSpec)
    format: Format = Format.text
    notes: Notes = Notes.short
    out: str | None = None
    margin: float | None = None
    alpha: float | None = None
    scope: str | None = None
    compare: Any = None
    higher_is_better: bool | None = None
    blocks: bool = False
    max_diverged: float = 0.2
    source: str | None = None
    factor: Any = None
    value: str | None = None
    seed: str | None = None
    baseline: dict[str, Any] = field(default_factory=dict)
    at: str | None = None
    images: int | None = None
    license: str | None = None
