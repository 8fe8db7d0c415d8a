"""Overrides and files of settings -> one configuration, as Hydra composes it, and that -> dataclasses."""

import importlib
import os
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, cast

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ablate.config.explain import lacks_sweep, sentence, several_values, wrong_override
from ablate.config.files import check_aliases, folders, groups, not_utf8, package_dir, preset, read_sweep
from ablate.config.leaves import has_free_keys, leaf_type, mistyped, wrong_in_file, wrong_value
from ablate.config.overrides import ConfigError, Override, Words, override_of, parse_overrides, quoted
from ablate.config.schema import EngineConfig, ReportConfig, check_path
from ablate.contract import task

Composed = DictConfig
"""What composing gives, to be typed by ``to_config`` or copied with other leaves; below here none travels."""


def _register() -> None:
    store = ConfigStore.instance()
    store.store(name="schema", node=task().config)
    store.store(name="report_schema", node=ReportConfig)
    store.store(name="report", node={"defaults": ["report_schema", {"tracking": "local"}, "_self_"]})
    OmegaConf.register_new_resolver("ablate.unique", lambda: uuid.uuid4().hex[:6], use_cache=True, replace=True)
    OmegaConf.register_new_resolver("ablate.weights", _weights, replace=True)


def _weights(*files: str) -> str:
    """The file that WEIGHTS names, else the one that is named in the interpolation."""
    if len(files) != 1 or not files[0]:
        raise ConfigError("ablate.weights must name one file, ${ablate.weights:FILE}, for where WEIGHTS is not set.")
    return os.environ.get("WEIGHTS", files[0])


def register_preset(group: str, option: object) -> None:
    """Makes ``group=option`` known to Hydra, such as ``model=cct_7_3x1``; nothing for what is no preset's name."""
    if isinstance(option, str) and (found := preset(group, option)) is not None:
        ConfigStore.instance().store(group=group, name=option, node=found)


def expand(words: Words) -> list[Override]:
    """Puts a sweep's ``base`` settings in front of the overrides, less those that an override replaces.

    Args:
        words: Words of a command; ``sweep=NAME`` means ``+sweep=NAME``.

    Raises:
        ConfigError: There is no such sweep, it is chosen in another way, or a word is not of Hydra's grammar.
        SweepError: What its file says makes no sense.
    """
    overrides = [_chosen(override) for override in parse_overrides(words)]
    for override in overrides:
        if override.key == "sweep" and override.removes:
            raise ConfigError("sweep must be chosen by +sweep=NAME, got ~sweep, which takes one away; leave that out.")
        if override.key == "sweep" and override.several:
            raise ConfigError(several_values(override, task().config))
    names = [override.option for override in overrides if override.key == "sweep"]
    if not names:
        return overrides
    content, given = read_sweep(names[-1]), {override.key for override in overrides}
    for key in given:
        if key in ("sweep.base", "sweep.name") or key.startswith("sweep.base."):
            raise ConfigError(f"{key} must stand in the sweep's file; on the command line give settings themselves.")
    ConfigStore.instance().store(group="sweep", name=names[-1], node=content)
    base = content.get("base") or {}
    return [override_of(key, value) for key, value in base.items() if key not in given] + overrides


def _chosen(override: Override) -> Override:
    plain = override.line.startswith("sweep=")  # which Hydra takes for the change of a choice that was made
    return replace(override, line=f"+{override.line}") if plain else override


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
        except (Exception, SystemExit) as error:  # a script may call sys.exit
            said = " ".join(str(error).split()).rstrip(".")
            raise ConfigError(
                f"plugins must name importable modules; {name!r} fails with {type(error).__name__}: {said} "
                f"(looked in {os.getcwd()} and the installed packages)."
            ) from error


def compose(words: Words, *, config_name: str = "config") -> Composed:
    """Composes a configuration from conf/, the chosen groups and the overrides.

    Args:
        words: Overrides in Hydra's grammar.
        config_name: ``config`` for what trains, ``report`` for what reads records.

    Raises:
        ConfigError: Naming the key or choice that is wrong, and what there is.
    """
    with composer() as one:
        return one(words, config_name=config_name)


def _schema(config_name: str) -> type:
    """The dataclass that a configuration of this name is held against."""
    return ReportConfig if config_name == "report" else task().config


class Composer:
    """Composes many configurations with Hydra initialised once."""

    def __call__(self, words: Words, *, config_name: str = "config") -> Composed:
        """Composes one configuration; see ``compose``."""
        overrides, schema = parse_overrides(words), _schema(config_name)
        for override in overrides:
            register_preset(override.key, override.value)
            if wrong := wrong_override(override, schema) or lacks_sweep(override, overrides):
                raise ConfigError(wrong)
        with explained(), _files_explained():
            lines = lines_for_hydra(overrides, schema)
            cfg: Composed = hydra_compose(config_name, overrides=[*search_path(), *lines])
            check_own_files(lines, config_name)
            return cfg


@contextmanager
def explained() -> Iterator[None]:
    """Raises what Hydra and OmegaConf say as a ConfigError, in one sentence."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(sentence(error)) from None


@contextmanager
def _files_explained() -> Iterator[None]:
    """Raises as a ConfigError, too, what else is wrong with a file of settings that Hydra reads."""
    try:
        yield
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


def lines_for_hydra(overrides: Sequence[Override], schema: type) -> list[str]:
    """Overrides as the lines that Hydra takes.

    Those that add to a mapping of free keys (``model.options``, a sweep's axes) may do so, text stays text
    (``out=1e3``), and a preset's options leave with the variant that they belong to.

    Args:
        overrides: All overrides of one command.
        schema: The dataclass of the whole configuration.
    """
    lines = []
    for override in overrides:
        line = override.line
        if _is_text(override, schema):
            line = f"{line.partition('=')[0]}={quoted(override.option)}"
        plain = not line.startswith(("+", "~"))
        lines.append(f"++{line}" if plain and has_free_keys(schema, override.key) else line)
    return [*lines, *_leaving(overrides)]


def _is_text(override: Override, schema: type) -> bool:
    """Whether a number, or what reads like one, is meant as text: a path, or the name of an option."""
    key, value = override.key, override.value
    if key == "sweep" and value is None and not override.removes:
        return True
    return isinstance(value, int | float) and (key in (*groups(), "sweep") or leaf_type(schema, key) is str)


def _leaving(overrides: Sequence[Override]) -> list[str]:
    """Takes a preset's options away where an override replaces the variant that they belong to.

    Only what the preset itself brought: an option that was said is never taken away.
    """
    said = {override.key: override.value for override in overrides if not override.several}
    presets = [(group, option) for group, option in said.items() if isinstance(option, str) and preset(group, option)]
    leaves = [leaf for group, option in presets for leaf in task().leaving(group, option, said)]
    return [f"~{leaf}" for leaf in leaves if not said.keys() & _parts(leaf)]


def _parts(leaf: str) -> set[str]:
    """The leaf's own key and those of the mappings that it stands in, without its group's."""
    names = leaf.split(".")
    return {".".join(names[:count]) for count in range(2, len(names) + 1)}


@contextmanager
def composer() -> Iterator[Composer]:
    """Initialises Hydra on the installation's conf/ for the duration of the block."""
    _register()
    for group, option in defaults().items():
        register_preset(group, option)
    if GlobalHydra.instance().is_initialized():  # inside @hydra.main, whose search path is the same
        yield Composer()
        return
    check_aliases()
    with initialize_config_dir(str(package_dir("conf")), version_base="1.3"):
        yield Composer()


def defaults() -> dict[str, str]:
    """Group -> the option that conf/config.yaml chooses."""
    config: Any = OmegaConf.to_container(OmegaConf.load(package_dir("conf") / "config.yaml"))
    chosen = [entry for entry in config["defaults"] if isinstance(entry, dict)]
    return {group: option for entry in chosen for group, option in entry.items()}


def search_path() -> list[str]:
    """Adds the user's ./conf to Hydra's search path, where there is one; as lines that Hydra takes."""
    own = [folder for folder in folders("conf") if folder != package_dir("conf")]
    return [f"hydra.searchpath=[{quoted(f'file://{folder}')}]" for folder in own]


def check_own_files(lines: Sequence[str], config_name: str = "config") -> None:
    """Refuses what OmegaConf would convert in silence in the user's own files of settings: 7 of a bool is no truth.

    Args:
        lines: Overrides as Hydra takes them, which say what files are chosen; Hydra is initialised.
        config_name: ``config`` for what trains, ``report`` for what reads records.

    Raises:
        ConfigError: Naming the file, the leaf and the value.
    """
    if not (own := search_path()):
        return
    loader = GlobalHydra.instance().config_loader()
    chosen = loader.compute_defaults_list(config_name, [*own, *lines], RunMode.RUN).defaults
    for each in chosen:
        ours, file = (folder / f"{each.config_path}.yaml" for folder in (package_dir("conf"), Path.cwd() / "conf"))
        if file.is_file() and not ours.is_file():
            package = "" if each.package in (None, "", "_global_") else f"{each.package}."
            content: Any = OmegaConf.to_container(OmegaConf.load(file))
            plain = {key: value for key, value in content.items() if key != "defaults"} if content else {}
            wrong = (wrong_in_file(_schema(config_name), f"{package}{key}", value) for key, value in plain.items())
            if first := next(filter(None, wrong), None):
                raise ConfigError(f"{file} must hold values of the settings' own types, but {first}")


def compose_report(words: Words) -> ReportConfig:
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


def to_config(cfg: Composed) -> EngineConfig:
    """The task's ``config``, typed and complete, plugins loaded.

    Raises:
        ConfigError: A value is missing or of the wrong type, or a plugin does not import.
        TrackingError: ``tracking.spool`` can be no folder.
    """
    config = cast(EngineConfig, _typed(cfg))
    config.tracking.check()
    load_plugins(config.plugins)
    return config


def _typed(cfg: Composed) -> Any:
    with explained():
        for key in sorted(OmegaConf.missing_keys(cfg)):
            raise ConfigError(f"{key} must be set, and has no default: add {key}=… to the command.")
        config = OmegaConf.to_object(cfg)
    for wrong in mistyped(config):
        raise ConfigError(wrong)
    return config


def with_leaves(cfg: Composed, leaves: Mapping[str, Any]) -> Composed:
    """A copy with leaves set, types checked: what a sweep does with every axis that is no config group.

    Raises:
        ConfigError: There is no such key, or the value is not of its type.
    """
    copy = cfg.copy()
    for key, value in leaves.items():
        set_leaf(copy, key, value)
    return copy


def set_leaf(cfg: Composed, key: str, value: Any) -> None:
    """Sets a leaf in place.

    Raises:
        ConfigError: There is no such key, or the value is not of its type.
    """
    if wrong := wrong_value(task().config, key, value):  # OmegaConf takes 7 for true
        raise ConfigError(wrong)
    with explained():
        OmegaConf.update(cfg, key, value, merge=False, force_add=has_free_keys(task().config, key))


def read_leaf(cfg: Composed, key: str) -> Any:
    """The value of a leaf in its own type, interpolations resolved; None where there is none."""
    return OmegaConf.select(cfg, key)


def read_unresolved(cfg: Composed, key: str) -> Any:
    """The value of a leaf as it is written, with its interpolations."""
    plain: Any = OmegaConf.to_container(cfg, resolve=False)
    return reduce(getitem, key.split("."), plain)


def interpolated(cfg: Composed) -> dict[str, str]:
    """The run's leaves that are written as another one's value, e.g. ``{"seeds.init": "${seed}"}``."""
    raw: Any = OmegaConf.to_container(cfg, resolve=False)
    return dict(_interpolated({field.name: raw[field.name] for field in fields(task().run)}))


def _interpolated(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _interpolated(value, f"{prefix}{key}.")
        elif isinstance(value, str) and "${" in value:
            yield f"{prefix}{key}", value
