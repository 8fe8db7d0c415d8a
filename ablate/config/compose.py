"""Words and files -> one configuration, and that into dataclasses: below here no DictConfig travels."""

import importlib
import math
import os
import re
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, cast, get_args, get_origin, get_type_hints

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ablate.config.explain import (
    SCHEMAS,
    leaf_type,
    of_no_sweep,
    opened,
    option_name,
    sentence,
    several_values,
    shortened,
    what_is_wrong,
    without_none,
    wrong_leaf,
)
from ablate.config.files import check_aliases, folders, is_preset, not_utf8, package_dir, read_sweep
from ablate.config.overrides import ConfigError, as_word, parse_overrides, quoted, said
from ablate.config.schema import Config, ReportConfig, RunSpec, check_path
from ablate.config.secrets import VARIABLES, holds_password, kept
from ablate.design.sweep import MOST_POINTS
from ablate.models import zoo


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


def expand(words: Iterable[str]) -> list[str]:
    """Puts a sweep's ``base`` settings in front of the overrides, less those that an override replaces."""
    words = [f"+{word}" if word.startswith("sweep=") else word for word in words]
    overrides = parse_overrides(words)
    for override in overrides:
        if override.key_or_group == "sweep" and override.is_delete():
            raise ConfigError("sweep must be chosen by +sweep=NAME, got ~sweep, which takes one away; leave that out.")
        if override.key_or_group == "sweep" and override.is_sweep_override():
            raise ConfigError(several_values(override))
    names = [option_name(override) for override in overrides if override.key_or_group == "sweep"]
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
        overrides, schema = parse_overrides(words), SCHEMAS[config_name]
        for override in overrides:
            self._register(override)
            if wrong := what_is_wrong(override, schema) or of_no_sweep(override, overrides):
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
            raise ConfigError(f"files of settings must be UTF-8, got others: {not_utf8()}; save them so.") from None
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
    own = [folder for folder in folders("conf") if folder != package_dir("conf")]
    return [f"hydra.searchpath=[{quoted(f'file://{folder}')}]" for folder in own]


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
            wrong = (_ill_typed(SCHEMAS[config_name], f"{package}{key}", value) for key, value in plain.items())
            if first := next(filter(None, wrong), None):
                raise ConfigError(f"{file} must hold values of the settings' own types, but {first}")


def _ill_typed(schema: type, key: str, value: Any) -> str | None:
    """What is wrong with a value in a file, where a number in quotes is text, and text is never a number."""
    hint = leaf_type(schema, key)
    if isinstance(value, dict) and is_dataclass(hint):
        return next(filter(None, (_ill_typed(schema, f"{key}.{name}", item) for name, item in value.items())), None)
    if hint is None or value is None or value == "???" or (isinstance(value, str) and "${" in value):
        return None
    if get_origin(hint) is list and isinstance(value, list):
        (kind,) = get_args(hint)
        return next(filter(None, (_ill_typed_plain(f"each of {key}", kind, item) for item in value)), None)
    return wrong_leaf(schema, key.split("."), key, value) or _ill_typed_plain(key, hint, value)


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
        value, kind = getattr(node, name), without_none(hint)
        if is_dataclass(value):
            yield from _mistyped(value, f"{prefix}{name}.")
        elif (plain := get_origin(kind) or kind) in (str, int, float, bool, list, dict):
            optional = type(None) in get_args(hint)
            if not (isinstance(value, plain) or (value is None and optional)):
                yield f"{prefix}{name} must be of type {plain.__name__}, got {shortened(repr(value))}."


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
        if wrong := wrong_leaf(Config, key.split("."), key, value):  # OmegaConf takes 7 for true
            raise ConfigError(wrong)
        OmegaConf.update(cfg, key, value, merge=False, force_add=key.startswith("model.options."))
    except OmegaConfBaseException as error:
        raise ConfigError(sentence(error)) from None
