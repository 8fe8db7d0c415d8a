"""From words to specs: the only room that sees a DictConfig. Below it, only dataclasses travel."""

import importlib
import os
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import BooleanNode, DictConfig, FloatNode, IntegerNode, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ablate import registry
from ablate.data.spec import DataSpec
from ablate.hardware import HardwareSpec
from ablate.models import zoo
from ablate.specs import ModelSpec
from ablate.sweep.space import SweepSpec
from ablate.tracking import TrackingSpec
from ablate.training.spec import SeedSpec, TrainSpec

GROUPS = ("model", "data", "train", "hardware", "tracking")


class ConfigError(ValueError):
    """A configuration that says something impossible; the message is one sentence for the person who wrote it."""


@dataclass
class RunSpec:
    """One point: all that can change its result."""

    model: ModelSpec = field(default_factory=ModelSpec)
    data: DataSpec = field(default_factory=DataSpec)
    train: TrainSpec = field(default_factory=TrainSpec)
    hardware: HardwareSpec = field(default_factory=HardwareSpec)
    seed: int = 0
    seeds: SeedSpec = field(default_factory=SeedSpec)

    def leaves(self) -> dict[str, Any]:
        """Every leaf under its config name, e.g. ``{"model.positional": "none", …}``."""
        return dict(_leaves(OmegaConf.to_container(OmegaConf.structured(self))))


@dataclass
class StudySpec:
    """Where a sweep keeps its queue.

    Attributes:
        storage: Optuna storage URL.
    """

    storage: str = "sqlite:///optuna.db"


@dataclass
class Config(RunSpec):
    """All that the command line can say: a point, what is swept over it, and where things are kept."""

    plugins: list[str] = field(default_factory=list)
    tracking: TrackingSpec = field(default_factory=TrackingSpec)
    study: StudySpec = field(default_factory=StudySpec)
    sweep: SweepSpec | None = None

    def point(self) -> RunSpec:
        """The run alone, with the model's defaults filled in.

        Raises:
            SpecError: The model cannot be built on any input.
        """
        return RunSpec(self.model.resolved(), self.data, self.train, self.hardware, self.seed, self.seeds)


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
    OmegaConf.register_new_resolver("ablate.unique", lambda: uuid.uuid4().hex[:6], use_cache=True, replace=True)


def _register_model(name: str) -> None:
    """Makes ``model=NAME`` an option for any L/PxC, unless a file of that name stands in a conf folder."""
    if any((folder / "model" / f"{name}.yaml").is_file() for folder in _search("conf")):
        return
    try:
        named = zoo.parse(name)
    except ValueError:
        return
    if named.image_size is None and named.num_classes is None:
        ConfigStore.instance().store(group="model", name=name, node=named.spec)


def read_sweep(name: str) -> dict[str, Any]:
    """The content of a sweep's file; only the file that is asked for is parsed, so a broken one harms no other.

    Raises:
        ConfigError: There is no such sweep, or its file is no mapping in YAML.
    """
    path = sweep_files().get(name)
    if path is None:
        raise ConfigError(registry.unknown("sweep", name, sweep_files()))
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except Exception as error:  # the YAML library's own errors share no base with OmegaConf's
        raise ConfigError(f"{path} must be YAML, but: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not isinstance(content.get("axes"), dict):
        raise ConfigError(f"{path} must hold a mapping with the key axes (docs/sweeps.md shows one).")
    for key in content:
        if key not in get_type_hints(SweepSpec):
            raise ConfigError(f"{path}: {registry.unknown('a key of a sweep', key, get_type_hints(SweepSpec))}")
    return {"name": name, **{str(key): value for key, value in content.items()}}


def expand(words: Iterable[str]) -> list[str]:
    """Puts a sweep's ``base`` settings in front of the overrides, less those that an override replaces."""
    words = [f"+{word}" if word.startswith("sweep=") else word for word in words]
    overrides = parse_overrides(words)
    names = [override.value() for override in overrides if override.key_or_group == "sweep"]
    if not names:
        return words
    content = read_sweep(str(names[-1]))
    ConfigStore.instance().store(group="sweep", name=str(names[-1]), node=content)
    given = {override.key_or_group for override in overrides}
    base = content.get("base") or {}
    return [f"{key}={_word(value)}" for key, value in base.items() if key not in given] + words


def _word(value: Any) -> str:
    """A YAML value in Hydra's override grammar."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_word(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_word(item) for item in value) + "]"
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


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


def parse_overrides(words: Iterable[str]) -> list[Override]:
    """Hydra's override grammar.

    Raises:
        ConfigError: A word is not of it.
    """
    parser, parsed = OverridesParser.create(), []
    for word in words:
        try:
            parsed.append(parser.parse_override(word))
        except HydraException:
            raise ConfigError(f"an override must read key=value (Hydra's grammar), got {word!r}.") from None
    return parsed


def compose(words: list[str], *, config_name: str = "config") -> DictConfig:
    """Composes a configuration from conf/, the chosen groups and the overrides.

    Raises:
        ConfigError: Naming the key or choice that is wrong, and what there is.
    """
    with composer() as one:
        return one(words, config_name=config_name)


class Composer:
    """Composes many configurations with Hydra initialised once."""

    def __call__(self, words: list[str], *, config_name: str = "config") -> DictConfig:
        for override in parse_overrides(words):
            self._register(override)
        try:
            cfg: DictConfig = hydra_compose(config_name, overrides=[*search_path_override(), *words])
            return cfg
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(_diagnose(words, error)) from None

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
    with initialize_config_dir(str(package_dir("conf")), version_base="1.3"):
        yield Composer()


def _defaults() -> list[str]:
    """The model that conf/config.yaml asks for, which may be any L/PxC."""
    config: Any = OmegaConf.to_container(OmegaConf.load(package_dir("conf") / "config.yaml"))
    return [entry["model"] for entry in config["defaults"] if isinstance(entry, dict) and "model" in entry]


def search_path_override() -> list[str]:
    """Adds the user's ./conf to Hydra's search path, where there is one."""
    own = [folder for folder in _search("conf") if folder != package_dir("conf")]
    return [f"hydra.searchpath=['file://{folder}']" for folder in own]


def to_config(cfg: DictConfig) -> Config:
    """Typed and complete, plugins loaded.

    Raises:
        ConfigError: A value is missing or of the wrong type, or a plugin does not import.
    """
    try:
        config = cast(Config, OmegaConf.to_object(cfg))
    except OmegaConfBaseException as error:
        raise ConfigError(_sentence(error)) from None
    load_plugins(config.plugins)
    return config


def with_leaves(cfg: DictConfig, leaves: Mapping[str, Any]) -> DictConfig:
    """A copy with leaves set, types checked: what a sweep does with every axis that is no config group.

    Raises:
        ConfigError: There is no such key, or the value is not of its type.
    """
    copy = cfg.copy()
    for key, value in leaves.items():
        try:
            OmegaConf.update(copy, key, value, merge=False)
        except OmegaConfBaseException as error:
            raise ConfigError(_diagnose([f"{key}={value}"], error)) from None
    return copy


# ---------------------------------------------------------------------------------------------------- what went wrong


def _diagnose(words: list[str], error: Exception) -> str:
    """The first override that is wrong by itself, in one sentence; else what Hydra says, in one line."""
    for override in parse_overrides(words):
        problem = _problem(override)
        if problem:
            return problem
    return _sentence(error)


def _problem(override: Override) -> str | None:
    key, value = override.key_or_group, override.value()
    if key in (*GROUPS, "sweep"):
        if not isinstance(value, str) or value in group_choices(key):
            return None
        if key == "model":
            return f"{registry.unknown('model', value, group_choices(key))} Any vit_L_P, cvt_L_P or cct_L_PxC works."
        return registry.unknown(key, value, group_choices(key))
    if key.startswith("hydra") or override.is_delete():
        return None
    return _walk(Config, key.split("."), key, value)


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
    if get_origin(kind) is Literal and value not in get_args(kind):
        return registry.unknown(key, value, [str(choice) for choice in get_args(kind)])
    if kind in (int, float, bool) and not _converts(kind, value, optional=type(None) in get_args(hints[path[0]])):
        return f"{key} must be of type {kind.__name__}, got {value!r}."
    return None


def _required(hint: Any) -> Any:
    """``X | None`` -> ``X``."""
    if get_origin(hint) in (Union, UnionType):
        return next(kind for kind in get_args(hint) if kind is not type(None))
    return hint


_NODES: dict[type, Any] = {int: IntegerNode, float: FloatNode, bool: BooleanNode}


def _converts(kind: type, value: Any, *, optional: bool) -> bool:
    if value is None:
        return optional
    try:
        OmegaConf.create({"probe": _NODES[kind](value=value)})
    except OmegaConfBaseException:
        return False
    return True


def _sentence(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    if "Missing mandatory value" in text or "MISSING" in text:
        key = next((line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")), "a value")
        return f"{key} must be set, and has no default: add {key}=… to the command."
    return text if text.endswith(".") else f"{text}."
