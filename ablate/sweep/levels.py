"""Levels -> specs, fast: Hydra composes once per combination of groups and variants, leaves are set on copies."""

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property, reduce
from typing import Any

from ablate.config.compose import Composed, composer, interpolated, read_leaf, set_leaf, to_config, with_leaves
from ablate.config.files import groups
from ablate.config.overrides import ConfigError, Override, override_of
from ablate.config.schema import EngineConfig
from ablate.contract import Run, task

_PLAIN = (bool, int, float, str, type(None))
_NOTHING = object()


@dataclass(frozen=True)
class _Template:
    """One composition, typed; what of it follows other leaves when those are set."""

    cfg: Composed
    config: EngineConfig
    following_seed: tuple[str, ...]
    following_others: bool

    @cached_property
    def probe(self) -> Composed:
        """A copy of the composition, whose leaves are set and read one after the other."""
        return self.cfg.copy()


def about_runs(overrides: Iterable[Override]) -> list[Override]:
    """Those that a point needs: a worker that draws a trial does not read the sweep's file again, and where records and
    queue are kept may be a secret, which goes into no file that a worker reads."""
    others = ("sweep", "tracking", "study")
    return [override for override in overrides if override.key.partition(".")[0] not in others]


class Specs:
    """The specs of a sweep's points.

    Args:
        overrides: Overrides of the command, the sweep's base settings among them.
        axes: Every axis that a point may set; overrides of them give way to the point's level.
    """

    def __init__(self, overrides: Sequence[Override], axes: Iterable[str]) -> None:
        taken = set(axes)
        self._overrides = [override for override in about_runs(overrides) if override.key not in taken]
        self._said: dict[str, Any] = {
            **dict.fromkeys(taken),
            **{override.key: override.value for override in self._overrides},
        }
        self._templates: dict[str, _Template] = {}
        self._typed: dict[str, Any] = {}

    def spec(self, levels: Mapping[str, Any], seed: int, repeat: int = 0) -> Run:
        """The run that the levels mean.

        Raises:
            ConfigError: A level is no choice of its group, or not of its leaf's type.
            ValueError: They make no run.
        """
        composed = self._composed(levels)
        template = self._template({axis: level for axis, level in levels.items() if axis in composed})
        leaves = {axis: level for axis, level in levels.items() if axis not in composed}
        leaves |= {"seed": seed, "repeat": repeat}
        if template.following_others or not all(_is_field(template.config, leaf) for leaf in leaves):
            return to_config(with_leaves(template.cfg, leaves)).point()
        config = copy.copy(template.config)
        for name in _parts():
            setattr(config, name, _copied(getattr(config, name)))
        for leaf in template.following_seed:
            _set(config, leaf, seed)
        for leaf, level in leaves.items():
            _set(config, leaf, self._value(template, leaf, level))
        return config.point()

    def _composed(self, levels: Mapping[str, Any]) -> tuple[str, ...]:
        """Axes whose level decides what else is in the configuration."""
        return (*groups(), *task().bringing({**self._said, **levels}))

    def _template(self, choice: Mapping[str, Any]) -> _Template:
        key = json.dumps(choice)
        if key not in self._templates:
            if unsaid := [group for group, level in choice.items() if group in groups() and level is None]:
                raise ConfigError(
                    f"axis {unsaid[0]} must have names of its group for levels, got null; leave that level out, or "
                    "name the option that is meant."
                )
            with composer() as compose:
                cfg = compose([*self._overrides, *(override_of(group, level) for group, level in choice.items())])
            config, follows = to_config(cfg), interpolated(cfg)
            of_seed = tuple(leaf for leaf, source in follows.items() if (leaf[:6], source) == ("seeds.", "${seed}"))
            self._templates[key] = _Template(cfg, config, of_seed, len(of_seed) < len(follows))
        return self._templates[key]

    def _value(self, template: _Template, leaf: str, level: Any) -> Any:
        """The level in its leaf's type: the schema's, whatever the composition."""
        if leaf in ("seed", "repeat"):
            return level
        key = json.dumps([leaf, level])
        if key not in self._typed:
            self._typed[key] = self._alone(template, leaf, level)
        return self._typed[key]

    def _alone(self, template: _Template, leaf: str, level: Any) -> Any:
        """The same where nothing else can follow: a plain value is set beside what is known to be sound.

        To copy and check the whole configuration for each takes 8 ms, and a sweep may have 10,000 levels.
        """
        current: Any = template.config
        for name in leaf.split("."):
            current = getattr(current, name, _NOTHING)
        said = isinstance(level, str) and (level == "???" or "${" in level)  # missing, or another's value
        if said or not all(isinstance(each, _PLAIN) for each in (level, current)):
            return reduce(getattr, leaf.split("."), to_config(with_leaves(template.cfg, {leaf: level})))
        set_leaf(template.probe, leaf, level)
        *path, name = leaf.split(".")
        part: Any = reduce(getattr, path, template.config)  # whose own rules may turn 16 into [16, 16]
        return getattr(replace(part, **{name: read_leaf(template.probe, leaf)}), name)


def _copied(node: Any) -> Any:
    """A copy whose leaves can be set; a leaf itself, such as a list, is replaced and never changed."""
    if not is_dataclass(node) or isinstance(node, type):
        return node
    twin = copy.copy(node)
    for field in fields(node):
        if is_dataclass(value := getattr(node, field.name)):
            setattr(twin, field.name, _copied(value))
    return twin


def _is_field(config: EngineConfig, leaf: str) -> bool:
    """Whether the leaf is a field of its own, and no entry of a mapping that is one."""
    parents: list[Any] = [config]
    for name in leaf.split(".")[:-1]:
        parents.append(getattr(parents[-1], name, None))
    return is_dataclass(parents[-1])


def _set(config: EngineConfig, leaf: str, value: Any) -> None:
    *path, name = leaf.split(".")
    setattr(reduce(getattr, path, config), name, value)


def _parts() -> list[str]:
    """Names of what a run is made of."""
    return [field.name for field in fields(task().run)]
