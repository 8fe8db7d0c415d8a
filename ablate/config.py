"""From words to specs: the only room that sees a DictConfig. Below it, only dataclasses travel."""

import importlib
import math
import os
import re
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from enum import StrEnum
from operator import attrgetter
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, FloatNode, IntegerNode, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ablate import databases, paper, registry
from ablate.data.augment import AugmentSpec
from ablate.data.spec import DataSpec
from ablate.hardware import HardwareSpec
from ablate.models import zoo
from ablate.paths import problem
from ablate.secrets import VARIABLES, holds_password, kept
from ablate.specs import ModelSpec
from ablate.sweep import definition, document
from ablate.sweep.space import MOST_POINTS, SweepSpec
from ablate.tracking import TrackingSpec, check_form, redact_uri
from ablate.training.spec import SeedSpec, TrainSpec
from ablate.words import ConfigError as ConfigError
from ablate.words import as_text, as_word, exactly, quoted, said, shown
from ablate.words import parse_overrides as parse_overrides

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
        parts: dict[str, Any] = {part.name: getattr(self, part.name) for part in _POINT}
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


_POINT = fields(RunSpec)


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
            at more than once (``ablate.stats.alpha_spending``).
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


# ------------------------------------------------------------------------------------------- where configuration lies


def package_dir(name: Literal["conf", "sweeps"]) -> Path:
    """``conf`` or ``sweeps`` of the installation: inside the wheel, or beside the package in a checkout."""
    inside = Path(__file__).parent / f"_{name}"
    return inside if inside.is_dir() else Path(__file__).parents[1] / name


def _search(name: Literal["conf", "sweeps"]) -> list[Path]:
    """The user's own folder in the working directory first, then the installation's."""
    own, ours = Path.cwd() / name, package_dir(name)
    return [ours] if not own.is_dir() or own.resolve() == ours.resolve() else [own, ours]


def sweep_files() -> dict[str, Path]:
    """Sweep name -> its file; a user's ``./sweeps/NAME.yaml`` stands before ours. Nothing is parsed."""
    found: dict[str, Path] = {}
    for folder in _search("sweeps"):
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def group_choices(group: str) -> list[str]:
    """What a config group offers, e.g. ``group_choices("data")``."""
    if group == "sweep":
        return list(sweep_files())
    files = {path.stem for folder in _search("conf") for path in (folder / group).glob("*.yaml")}
    return sorted(files) + (zoo.presets() if group == "model" else [])


# ------------------------------------------------------------------------------------------------------- composing


def _register() -> None:
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    store.store(name="report_schema", node=ReportConfig)
    store.store(name="report", node={"defaults": ["report_schema", {"tracking": "local"}, "_self_"]})
    OmegaConf.register_new_resolver("ablate.unique", lambda: uuid.uuid4().hex[:6], use_cache=True, replace=True)
    OmegaConf.register_new_resolver("ablate.weights", _weights, replace=True)


def _weights(*files: str) -> str:
    """The file that WEIGHTS names, else the one that is named in the interpolation."""
    if len(files) != 1 or not files[0]:
        raise ConfigError("ablate.weights must name one file, ${ablate.weights:FILE}, for where WEIGHTS is not set.")
    return os.environ.get("WEIGHTS", files[0])


def _register_model(name: str) -> None:
    """Makes ``model=NAME`` an option for any L/PxC, unless a file of that name stands in a conf folder."""
    if is_preset(name):
        ConfigStore.instance().store(group="model", name=name, node=zoo.parse(name).spec)


def is_preset(name: str) -> bool:
    return _is_model(name) and not any((folder / "model" / f"{name}.yaml").is_file() for folder in _search("conf"))


def _is_model(name: str) -> bool:
    """Whether a word names an architecture alone: the image size and the classes are the data's to say."""
    try:
        named = zoo.parse(name)
    except ValueError:
        return False
    return name in zoo.presets() or (named.image_size is None and named.num_classes is None)


def read_sweep(name: str) -> dict[str, Any]:
    """The content of a sweep's file; only the file that is asked for is parsed, so a broken one harms no other.

    Raises:
        ConfigError: There is no such sweep, or its file holds no axes.
        SweepError: The file cannot be read, or what it says makes no sense.
    """
    path = sweep_files().get(name)
    if path is None:
        raise ConfigError(_unknown_sweep(name))
    for other in (folder / "sweep" / f"{name}.yaml" for folder in _search("conf")):
        if other.is_file():
            raise ConfigError(
                f"a sweep must be one file, got {path} and {other}, which Hydra would mix; rename or remove the second."
            )
    content = load_sweep(path)
    if isinstance(content, dict) and "axes" not in content:
        definition.check_keys(name, content)  # it may be misspelt
    if not isinstance(content, dict) or not isinstance(content.get("axes"), dict):
        raise ConfigError(f"{path} must hold a mapping with the key axes (docs/sweeps.md shows one).")
    definition.check(name, content, paper.TABLES)
    return {"name": name, **content}


def load_sweep(path: Path) -> Any:
    """What a sweep's file holds, unchecked but for its limits; None where it is no mapping.

    Raises:
        SweepError: It is no YAML, too large, or reaches beyond its runs.
    """
    return document.load(path, [part.name for part in _POINT])


def _unknown_sweep(name: str) -> str:
    """What there is instead, where a file was named or lies there under another ending."""
    files, stem = sweep_files(), Path(name).stem
    if name != stem and stem in files:
        return f"a sweep must be named without folder and ending, got {name!r}; write +sweep={stem}."
    if (wrong := Path("sweeps", f"{stem}.yml")).is_file():
        return f"a sweep's file must end in .yaml, got {wrong}; rename it."
    return registry.unknown("sweep", name, files)


def expand(words: Iterable[str]) -> list[str]:
    """Puts a sweep's ``base`` settings in front of the overrides, less those that an override replaces."""
    words = [f"+{word}" if word.startswith("sweep=") else word for word in words]
    overrides = parse_overrides(words)
    for override in overrides:
        if override.key_or_group == "sweep" and override.is_delete():
            raise ConfigError("sweep must be chosen by +sweep=NAME, got ~sweep, which takes one away; leave that out.")
        if override.key_or_group == "sweep" and override.is_sweep_override():
            raise ConfigError(_several(override))
    names = [_name(override) for override in overrides if override.key_or_group == "sweep"]
    if not names:
        return words
    content = read_sweep(names[-1])
    for key in {override.key_or_group for override in overrides}:
        if key in ("sweep.base", "sweep.name") or key.startswith("sweep.base."):
            raise ConfigError(f"{key} must stand in the sweep's file; on the command line give settings themselves.")
    ConfigStore.instance().store(group="sweep", name=names[-1], node=content)
    given = {override.key_or_group for override in overrides}
    base = content.get("base") or {}
    return [f"{key}={as_word(value)}" for key, value in base.items() if key not in given] + words


def _name(override: Override) -> str:
    """The option that a group's override names: a sweep's file may be called ``10.yaml`` or ``null.yaml``."""
    return said(override) if override.value() is None else str(as_text(override))


def load_plugins(modules: Iterable[str]) -> None:
    """Imports the user's modules, which register their variants; the working directory counts as a place to find them.

    Raises:
        ConfigError: A module is not found, or fails while it is imported.
    """
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:
            raise ConfigError(
                f"plugins must name importable modules; {name!r} fails with {type(error).__name__}: {error} "
                f"(looked in {os.getcwd()} and the installed packages)."
            ) from error


def compose(words: list[str], *, config_name: str = "config") -> DictConfig:
    """Composes a configuration from conf/, the chosen groups and the overrides.

    Args:
        words: Overrides in Hydra's grammar.
        config_name: ``config`` for what trains, ``report`` for what reads records.

    Raises:
        ConfigError: Naming the key or choice that is wrong, and what there is.
    """
    with composer() as one:
        return one(words, config_name=config_name)


class Composer:
    """Composes many configurations with Hydra initialised once."""

    def __call__(self, words: list[str], *, config_name: str = "config") -> DictConfig:
        overrides, schema = parse_overrides(words), _SCHEMAS[config_name]
        for override in overrides:
            self._register(override)
            if wrong := _problem(override, schema) or _of_no_sweep(override, overrides):
                raise ConfigError(wrong)
        try:
            taken = opened(overrides, schema)
            cfg: DictConfig = hydra_compose(config_name, overrides=[*search_path_override(), *taken])
            check_own_files(taken, config_name)
            return cfg
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(sentence(error)) from None
        except yaml.YAMLError as error:  # of a file in conf/, which it names
            raise ConfigError(f"a file of settings must be YAML, but: {' '.join(str(error).split())}.") from None
        except UnicodeDecodeError:
            raise ConfigError(f"files of settings must be UTF-8, got others: {_not_utf8()}; save them so.") from None
        except RecursionError:
            raise ConfigError(
                f"files of settings must neither be nested so deeply nor name themselves as in {Path.cwd() / 'conf'}."
            ) from None
        except OSError as error:
            raise ConfigError(
                f"a file of settings must be one that can be read, but {error.filename or Path.cwd() / 'conf'}: "
                f"{error.strerror}."
            ) from None

    def _register(self, override: Override) -> None:
        value = override.value()
        if override.key_or_group == "model" and isinstance(value, str):
            _register_model(value)


@contextmanager
def composer() -> Iterator[Composer]:
    """Initialises Hydra on the installation's conf/ for the duration of the block."""
    _register()
    for name in ("cct_2_3x2", *_defaults()):
        _register_model(name)
    if GlobalHydra.instance().is_initialized():  # inside @hydra.main, whose search path is the same
        yield Composer()
        return
    check_aliases()
    with initialize_config_dir(str(package_dir("conf")), version_base="1.3"):
        yield Composer()


def _defaults() -> list[str]:
    """The model that conf/config.yaml asks for, which may be any L/PxC."""
    config: Any = OmegaConf.to_container(OmegaConf.load(package_dir("conf") / "config.yaml"))
    return [entry["model"] for entry in config["defaults"] if isinstance(entry, dict) and "model" in entry]


def search_path_override() -> list[str]:
    """Adds the user's ./conf to Hydra's search path, where there is one."""
    own = [folder for folder in _search("conf") if folder != package_dir("conf")]
    return [f"hydra.searchpath=[{quoted(f'file://{folder}')}]" for folder in own]


def _not_utf8() -> str:
    """The user's files of settings that are written in something else."""
    found = []
    for file in sorted(path for path in (Path.cwd() / "conf").rglob("*.yaml") if path.is_file()):
        try:
            file.read_text("utf-8")
        except UnicodeDecodeError:
            found.append(str(file))
        except OSError:
            continue
    return ", ".join(found)


def check_aliases() -> None:
    """Refuses a file of the user's own settings whose aliases would fill the memory, before Hydra reads it.

    Raises:
        ConfigError: Naming the file.
    """
    for file in (Path.cwd() / "conf").rglob("*.yaml"):
        try:
            text = file.read_text("utf-8-sig") if file.is_file() else ""
            values = document.written_out(text) if "*" in text else 0
        except (OSError, ValueError, yaml.YAMLError):
            continue  # who reads it says what is wrong
        if values > max(document.MOST_VALUES, len(text)):  # more than can be written in so many letters
            raise ConfigError(
                f"{file} must hold at most {document.MOST_VALUES:,} values, aliases written out, got {values:,}."
            )


def check_own_files(words: Sequence[str], config_name: str = "config") -> None:
    """Refuses what OmegaConf would convert in silence in the user's own files of settings: 7 of a bool is no truth.

    Args:
        words: Overrides as Hydra takes them, which say what files are chosen; Hydra is initialised.
        config_name: As of ``compose``.

    Raises:
        ConfigError: Naming the file, the leaf and the value.
    """
    if not (own := search_path_override()):
        return
    loader = GlobalHydra.instance().config_loader()
    chosen = loader.compute_defaults_list(config_name, [*own, *words], RunMode.RUN).defaults
    for each in chosen:
        ours, file = (folder / f"{each.config_path}.yaml" for folder in (package_dir("conf"), Path.cwd() / "conf"))
        if file.is_file() and not ours.is_file():
            package = "" if each.package in (None, "", "_global_") else f"{each.package}."
            content: Any = OmegaConf.to_container(OmegaConf.load(file))
            plain = {key: value for key, value in content.items() if key != "defaults"} if content else {}
            wrong = (_ill_typed(_SCHEMAS[config_name], f"{package}{key}", value) for key, value in plain.items())
            if first := next(filter(None, wrong), None):
                raise ConfigError(f"{file} must hold values of the settings' own types, but {first}")


def _ill_typed(schema: type, key: str, value: Any) -> str | None:
    """What is wrong with a value in a file, where a number in quotes is text, and text is never a number."""
    hint = _kind(schema, key)
    if isinstance(value, dict) and is_dataclass(hint):
        return next(filter(None, (_ill_typed(schema, f"{key}.{name}", item) for name, item in value.items())), None)
    if hint is None or value is None or value == "???" or (isinstance(value, str) and "${" in value):
        return None
    if get_origin(hint) is list and isinstance(value, list):
        (kind,) = get_args(hint)
        return next(filter(None, (_ill_typed_plain(f"each of {key}", kind, item) for item in value)), None)
    return _walk(schema, key.split("."), key, value) or _ill_typed_plain(key, hint, value)


def _ill_typed_plain(key: str, kind: Any, value: Any) -> str | None:
    if kind is str and not isinstance(value, str):
        return f"{key} must be text, got {value!r}; put the text in quotes."
    if kind in (int, float) and (isinstance(value, bool | str) or not isinstance(value, int | float)):
        return f"{key} must be a number, got {value!r}; write a number without quotes."
    if kind is int and isinstance(value, float):
        return f"{key} must be a whole number, got {value!r}."
    return None


def compose_report(words: list[str]) -> ReportConfig:
    """What ``report`` was told.

    Raises:
        ConfigError: Naming the key or choice that is wrong, and what there is.
        TrackingError: ``tracking.spool`` can be no folder.
    """
    options = cast(ReportConfig, _typed(compose(words, config_name="report")))
    options.tracking.check()
    for key in ("out", "source"):
        check_path(key, getattr(options, key) or None)  # each verb says what an empty name is to it
    return options


def to_config(cfg: DictConfig) -> Config:
    """Typed and complete, plugins loaded.

    Raises:
        ConfigError: A value is missing or of the wrong type, or a plugin does not import.
        TrackingError: ``tracking.spool`` can be no folder.
    """
    config = cast(Config, _typed(cfg))
    config.tracking.check()
    load_plugins(config.plugins)
    return config


def _typed(cfg: DictConfig) -> Any:
    try:
        for key in sorted(OmegaConf.missing_keys(cfg)):
            raise ConfigError(f"{key} must be set, and has no default: add {key}=… to the command.")
        config = OmegaConf.to_object(cfg)
    except OmegaConfBaseException as error:
        raise ConfigError(sentence(error)) from None
    for wrong in _mistyped(config):
        raise ConfigError(wrong)
    return config


def _mistyped(node: Any, prefix: str = "") -> Iterator[str]:
    """Leaves that are another one's value, of another type: OmegaConf lets ``${seed}`` be a path."""
    for name, hint in get_type_hints(type(node)).items():
        value, kind = getattr(node, name), _required(hint)
        if is_dataclass(value):
            yield from _mistyped(value, f"{prefix}{name}.")
        elif (plain := get_origin(kind) or kind) in (str, int, float, bool, list, dict):
            optional = type(None) in get_args(hint)
            if not (isinstance(value, plain) or (value is None and optional)):
                yield f"{prefix}{name} must be of type {plain.__name__}, got {_brief(repr(value))}."


def _brief(text: str) -> str:
    """A value as a sentence may hold it: of a whole mapping its beginning."""
    return text if len(text) <= 60 else f"{text[:60]}…"


def without_secrets(words: list[str]) -> list[str]:
    """The words as Hydra may write them down: an address with a password stays in the environment, and they name where.

    Raises:
        ConfigError: Jobs are to differ by where records or queue are kept, or the words are wrong.
    """
    overrides = parse_overrides(words)
    fixed = [override for override in overrides if not override.is_sweep_override()]
    for override in overrides:
        if override.is_sweep_override() and override.key_or_group.partition(".")[0] in ("tracking", "study"):
            raise ConfigError(
                f"{override.key_or_group} must be one value for all jobs of --multirun, since no run differs by it, "
                "got several; give one, and start the jobs once for each of the others."
            )
    cfg = compose([str(override.input_line) for override in fixed])
    raw: Any = OmegaConf.to_container(cfg)
    settings = {setting: setting.split(".") for setting in VARIABLES}
    hidden = [setting for setting, (group, leaf) in settings.items() if holds_password(str(raw[group][leaf]))]
    hidden = [f"{setting}={kept(setting, str(OmegaConf.select(cfg, setting)))}" for setting in hidden]
    return [word for override in overrides if (word := _without_secret(override))] + hidden


def _without_secret(override: Override) -> str | None:
    """The word less an address that has a password, by itself or in a mapping; None where nothing is left."""
    line, value = str(override.input_line), override.value()
    for setting in VARIABLES:
        group, _, leaf = setting.partition(".")
        if override.key_or_group == setting and holds_password(said(override)):
            return None
        if override.key_or_group == group and isinstance(value, dict) and holds_password(str(value.get(leaf))):
            others = {key: other for key, other in value.items() if key != leaf}
            return f"{line.partition('=')[0]}={as_word(others)}" if others else None
    return line


def prepare_jobs(words: list[str]) -> None:
    """What Hydra needs to compose the jobs of ``--multirun`` by itself: the models that they name.

    Raises:
        ConfigError: There are too many jobs.
    """
    swept = [override for override in parse_overrides(words) if override.is_sweep_override()]
    if (count := math.prod(map(_choices, swept))) > MOST_POINTS:
        raise ConfigError(f"--multirun must have at most {MOST_POINTS:,} jobs, got {count}.")
    for override in swept:
        if override.key_or_group == "model":
            for name in override.sweep_string_iterator():
                _register_model(name)


def _choices(override: Override) -> int:
    value = override.value()
    if isinstance(value, RangeSweep):
        return max(0, math.ceil((float(value.stop) - float(value.start)) / float(value.step)))
    return len(value.list) if isinstance(value, ChoiceSweep) else 1


def read_spec(path: Path) -> RunSpec:
    """The spec of a run that was recorded, from its artifact ``config.yaml``; a leaf that is newer has its default.

    Raises:
        ConfigError: The file holds no spec, or one with keys that there are no more.
    """
    try:
        plain = _literal(OmegaConf.to_container(OmegaConf.load(path)))
        recorded = OmegaConf.merge(OmegaConf.structured(RunSpec), OmegaConf.create(plain))
        return cast(RunSpec, OmegaConf.to_object(recorded))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path} must hold the spec of a run, but: {sentence(error)}") from None


def _literal(node: Any) -> Any:
    """Values that are taken as they stand: what was recorded is resolved, and ``${…}`` in it is part of a name."""
    if isinstance(node, dict):
        return {key: _literal(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_literal(value) for value in node]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", node) if isinstance(node, str) else node


def with_leaves(cfg: DictConfig, leaves: Mapping[str, Any]) -> DictConfig:
    """A copy with leaves set, types checked: what a sweep does with every axis that is no config group.

    Raises:
        ConfigError: There is no such key, or the value is not of its type.
    """
    copy = cfg.copy()
    for key, value in leaves.items():
        set_leaf(copy, key, value)
    return copy


def set_leaf(cfg: DictConfig, key: str, value: Any) -> None:
    """Sets a leaf in place.

    Raises:
        ConfigError: There is no such key, or the value is not of its type.
    """
    try:
        if wrong := _walk(Config, key.split("."), key, value):  # OmegaConf takes 7 for true
            raise ConfigError(wrong)
        OmegaConf.update(cfg, key, value, merge=False, force_add=key.startswith("model.options."))
    except OmegaConfBaseException as error:
        raise ConfigError(sentence(error)) from None


# ---------------------------------------------------------------------------------------------------- what went wrong


_SCHEMAS: dict[str, type] = {"config": Config, "report": ReportConfig}


def opened(overrides: Sequence[Override], schema: type = Config) -> list[str]:
    """Overrides as words that Hydra takes: those that add to a mapping of free keys (``model.options``, a sweep's axes)
    may do so, text stays text (``out=1e3``), and a preset's options leave with the variant that they belong to."""
    words = []
    for override in overrides:
        line = str(override.input_line)
        if _is_text(override, schema):
            line = f"{line.partition('=')[0]}={quoted(_name(override))}"
        plain = not line.startswith(("+", "~"))
        words.append(f"++{line}" if plain and _free(override) else line)
    return words + _left_behind(overrides)


def _is_text(override: Override, schema: type) -> bool:
    """Whether a number, or what reads like one, is meant as text: a path, or the name of an option."""
    key, value = override.key_or_group, override.value()
    if key == "sweep" and value is None and not override.is_delete():
        return True
    return isinstance(value, int | float) and (key in (*GROUPS, "sweep") or _kind(schema, key) is str)


def _kind(schema: Any, key: str) -> Any:
    """The type of a leaf; None where there is no such leaf."""
    for name in key.split("."):
        schema = _required(get_type_hints(schema).get(name)) if is_dataclass(schema) else None
    return schema


def _left_behind(overrides: Sequence[Override]) -> list[str]:
    """Takes a preset's options away where an override replaces the variant that they belong to.

    Only what the preset itself brought: an option that was said is never taken away.
    """
    said = {override.key_or_group: override.value() for override in overrides if not override.is_sweep_override()}
    name = said.get("model")
    if not isinstance(name, str) or not is_preset(name):
        return []
    preset = zoo.parse(name).spec
    replaced = [axis for axis in preset.options if said.get(f"model.{axis}", own := getattr(preset, axis)) != own]
    return [
        f"~model.options.{axis}.{option}"
        for axis in replaced
        for option in preset.options[axis]
        if not {"model.options", f"model.options.{axis}", f"model.options.{axis}.{option}"} & said.keys()
    ]


def _free(override: Override) -> bool:
    if override.key_or_group.startswith("baseline."):  # of report; a sweep's stands in its file
        return True
    schema: Any = Config
    for name in override.key_or_group.split("."):
        if not is_dataclass(schema):
            break
        schema = _required(get_type_hints(schema).get(name))
    return get_origin(schema) is dict


def _problem(override: Override, schema: type) -> str | None:
    """What is wrong with an override by itself, in one sentence."""
    key, value = override.key_or_group, override.value()
    if override.is_sweep_override():
        return _several(override, schema)
    if key in (*GROUPS, "sweep") and (key in get_type_hints(schema) or (key == "recipe" and schema is Config)):
        if value is None or (isinstance(value, dict) and key == "recipe"):
            return None
        if isinstance(value, dict):
            return _walk(schema, [key], key, value)
        value = _name(override)
        if value in group_choices(key) or (key == "model" and _is_model(value)):
            return None
        if key == "model":
            return f"{registry.unknown('model', value, group_choices(key))} Any vit_L_P, cvt_L_P or cct_L_PxC works."
        return registry.unknown(key, value, group_choices(key))
    if key.startswith("hydra"):
        return None
    if override.is_delete():
        return None if _free(override) else f"{key} must have a value, so that it cannot be removed; write {key}=…"
    if isinstance(value, list | dict) and _kind(schema, key) is str:
        return (
            f"{key} must be text, got {said(override)}; where that is the text, write {exactly(key, said(override))}."
        )
    return _dotted(override) or _walk(schema, key.split("."), key, value)


def _several(override: Override, schema: type = Config) -> str:
    key, line = override.key_or_group, shown(str(override.input_line))
    meant = f", or where it is one text {exactly(key, said(override))}" if _kind(schema, key) is str else ""
    return f"{key} must be one value, got {line}; write a sweep (docs/sweeps.md){meant}."


def _of_no_sweep(override: Override, overrides: Sequence[Override]) -> str | None:
    """What is said of a sweep where none is named."""
    key = override.key_or_group
    named = any(other.key_or_group == "sweep" and not isinstance(other.value(), dict) for other in overrides)
    if key.partition(".")[0] != "sweep" or named:
        return None
    return f"{key} must come with a sweep whose file it changes: add +sweep=NAME."


_OF_AXES = ("levels", "low", "high", "step", "log", "when")


def _dotted(override: Override) -> str | None:
    """An axis whose name has dots, which Hydra takes for mappings in each other."""
    key, said = override.key_or_group, override.input_line.partition("=")[2]
    parts = key.split(".")
    if parts[0] != "sweep" or parts[1:2] not in (["axes"], ["baseline"]) or len(parts) < 4 or parts[3] in _OF_AXES:
        return None
    head, name = ".".join(parts[:2]), ".".join(parts[2:])
    return f"{key} must stand in braces, since the axis has dots in its name: write '{head}={{{name}:{said}}}'."


def _walk(schema: Any, path: list[str], key: str, value: Any) -> str | None:
    if not is_dataclass(schema):
        return None
    hints = get_type_hints(schema)
    if path[0] not in hints:
        parent = ".".join(key.split(".")[: -len(path)])
        return registry.unknown(f"a key of {parent}" if parent else "a key", path[0], hints)
    kind = _required(hints[path[0]])
    if len(path) > 1:
        return _walk(kind, path[1:], key, value)
    if value is None and type(None) in get_args(hints[path[0]]):
        return None
    if isinstance(value, str) and "${" in value:  # what it stands for is known when all is composed
        return None
    if is_dataclass(kind) and isinstance(value, dict):
        problems = (_walk(kind, [str(name)], f"{key}.{name}", item) for name, item in value.items())
        return next(filter(None, problems), None)
    if isinstance(kind, type) and issubclass(kind, StrEnum) and value not in list(kind):
        return registry.unknown(key, value, list(kind))
    if (is_dataclass(kind) or get_origin(kind) is dict) and not isinstance(value, dict) and value is not None:
        return _plain_for_many(kind, key, value)
    if get_origin(kind) is list and not isinstance(value, list):
        return f"{key} must be a list, e.g. {key}=[{value}], got {value!r}."
    if isinstance(value, str) and "\0" in value:
        return f"{key} must be text without NUL, got {value!r}."
    if kind is bool and not isinstance(value, bool):
        return f"{key} must be true or false, got {value!r}."
    if kind in (int, float) and not _converts(kind, value):
        return f"{key} must be of type {kind.__name__}, got {value!r}."
    return None


def _plain_for_many(kind: Any, key: str, value: Any) -> str:
    """A value for what has several by name."""
    if key == "seeds":
        return f"seeds must be set one by one (seeds.init …), got {value}; write sweep.seeds={value}, or seed=3 to pin."
    if is_dataclass(kind):
        names = ", ".join(f"{key}.{name}" for name in get_type_hints(kind))
        return f"{key} must be set by its keys, {names}; got {value!r}."
    name = "model" if key == "baseline" else "NAME"
    return f"{key} must say of which it is, got {value!r}; write {key}.{name}={value}."


def _required(hint: Any) -> Any:
    """``X | None`` -> ``X``."""
    if get_origin(hint) in (Union, UnionType):
        return next(kind for kind in get_args(hint) if kind is not type(None))
    return hint


_NODES: dict[type, Any] = {int: IntegerNode, float: FloatNode}


def _converts(kind: type, value: Any) -> bool:
    if value in (None, "???"):  # which says that a value is missing
        return False
    try:
        _NODES[kind](value=value)
    except OmegaConfBaseException:
        return False
    return True


def sentence(error: BaseException) -> str:
    """An error of Hydra's or OmegaConf's in one sentence, with the key that it is about."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    text = re.sub(r"(?<=Value ')(.*)(?=' of type ')", lambda value: _brief(value[1]), text)
    if len(lines) > 1 and text.endswith("raised while composing config:"):
        text = _of_file(text, lines[1:])
    elif error.__cause__ is not None:  # "Error merging override": the reason stands in what it came from
        text = f"{text}: {sentence(error.__cause__)}"
    if (key := getattr(error, "full_key", None)) and str(key) not in text:
        text = f"{key}: {text}"
    return text if text.endswith(".") else f"{text}."


def _of_file(head: str, lines: list[str]) -> str:
    """What ails a file of settings: Hydra says ``In 'model/mine': … composing config:``, then reason and key."""
    name = head.split("'")[1] if head.startswith("In '") else "config"
    files = [path for folder in _search("conf") if (path := folder / f"{name}.yaml").is_file()]
    keys = [line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")]
    if not files or name == "config":
        return f"{keys[0]}: {lines[0]}" if keys else lines[0]
    return f"{files[0]} must hold settings that there are, but {keys[0] if keys else 'in it'}: {lines[0]}"
