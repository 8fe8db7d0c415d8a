"""Levels -> specs, fast: Hydra composes once per combination of groups and variants, leaves are set on copies."""

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property, reduce
from typing import Any, cast

from ablate.config.compose import Composed, composer, interpolated, read_leaf, set_leaf, to_config, with_leaves
from ablate.config.files import groups, preset
from ablate.config.overrides import ConfigError, Override, override_of
from ablate.data.facts import describe, training_images
from ablate.data.spec import check_batch
from ablate.models import registry
from ablate.models.cost import InputShape
from ablate.models.spec import SpecError
from ablate.tasks.classify.spec import Config, RunSpec

_VARIANTS = tuple(f"model.{axis}" for axis in registry.AXES)
_DEFAULT_MODEL = "cct_2_3x2"  # of conf/config.yaml

_PLAIN = (bool, int, float, str, type(None))
_NOTHING = object()

_PARTS = tuple(field.name for field in fields(RunSpec))


MOST_PARAMS, MOST_TOKENS = 10**12, 10**6
"""Of a model that is meant: beyond, weights alone take terabytes, and attention's weights as much for one image."""


@dataclass(frozen=True)
class Cost:
    """What one image costs a model, in closed form."""

    params: int
    trainable_params: int
    tokens: int
    macs: int
    macs_modules: int
    macs_fvcore: int


@dataclass(frozen=True)
class _Template:
    """One composition, typed; what of it follows other leaves when those are set."""

    cfg: Composed
    config: Config
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
        overrides: The command's, the sweep's base settings among them.
        axes: Every axis that a point may set; overrides of them give way to the point's level.
    """

    def __init__(self, overrides: Sequence[Override], axes: Iterable[str]) -> None:
        taken = set(axes)
        self._overrides = [override for override in about_runs(overrides) if override.key not in taken]
        named = [override.value for override in self._overrides if override.key == "model"]
        self._model = named[-1] if named else _DEFAULT_MODEL
        keys = {*taken, *(override.key for override in overrides)}
        self._options = any(key.startswith("model.options") for key in keys)
        self._templates: dict[str, _Template] = {}
        self._typed: dict[str, Any] = {}
        self._costs: dict[str, Cost | None] = {}
        self._trained: dict[str, int | None] = {}
        self._described: dict[str, tuple[InputShape, int] | None] = {}

    def spec(self, levels: Mapping[str, Any], seed: int, repeat: int = 0) -> RunSpec:
        """The run that the levels mean.

        Raises:
            ConfigError: A level is no choice of its group, or not of its leaf's type.
            SpecError: They make no model.
        """
        composed = self._composed(levels)
        template = self._template({axis: level for axis, level in levels.items() if axis in composed})
        leaves = {axis: level for axis, level in levels.items() if axis not in composed}
        leaves |= {"seed": seed, "repeat": repeat}
        if template.following_others or any(leaf.startswith("model.options") for leaf in leaves):
            return cast(Config, to_config(with_leaves(template.cfg, leaves))).point()
        config = copy.copy(template.config)
        for name in _PARTS:
            setattr(config, name, _copied(getattr(config, name)))
        for leaf in template.following_seed:
            _set(config, leaf, seed)
        for leaf, level in leaves.items():
            _set(config, leaf, self._value(template, leaf, level))
        return config.point()

    def _composed(self, levels: Mapping[str, Any]) -> tuple[str, ...]:
        """Axes whose level decides what else is in the configuration: groups, and where options are, variants.

        A variant takes the options of the one that it replaces away; an official name brings none.
        """
        model = levels.get("model", self._model)
        named = preset("model", model) if isinstance(model, str) else None
        plain = named is not None and not named.options
        return groups() if plain and not self._options else (*groups(), *_VARIANTS)

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
            config, follows = cast(Config, to_config(cfg)), interpolated(cfg)
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

    def known(self, spec: RunSpec) -> tuple[InputShape, int] | None:
        """Image shape and classes of the run's data, as far as can be told without decoding it."""
        key = repr(spec.data)
        if key not in self._described:
            self._described[key] = describe(spec.data)
        return self._described[key]

    def check_size(self, spec: RunSpec) -> None:
        """Raises DataError where a batch takes more images than the run trains on, as far as that can be told now."""
        key = repr(spec.data)
        if key not in self._trained:
            self._trained[key] = training_images(spec.data)
        if (images := self._trained[key]) is not None:
            check_batch(spec.train.batch_size, images)

    def cost(self, spec: RunSpec) -> Cost | None:
        """The run's model on the run's data.

        Raises:
            DataError: The data cannot be used.
            SpecError: The model cannot be built on it.
        """
        known = self.known(spec)
        key = repr((spec.model, known))
        if key not in self._costs:
            self._costs[key] = cost(spec, *known) if known else None
        return self._costs[key]


def _copied(node: Any) -> Any:
    """A copy whose leaves can be set; a leaf itself, such as a list, is replaced and never changed."""
    if not is_dataclass(node) or isinstance(node, type):
        return node
    twin = copy.copy(node)
    for field in fields(node):
        if is_dataclass(value := getattr(node, field.name)):
            setattr(twin, field.name, _copied(value))
    return twin


def _set(config: Config, leaf: str, value: Any) -> None:
    *path, name = leaf.split(".")
    setattr(reduce(getattr, path, config), name, value)


def cost(spec: RunSpec, input_shape: InputShape, num_classes: int) -> Cost:
    """The model's cost on images of this shape.

    Raises:
        SpecError: The model cannot be built on them.
    """
    model = spec.model
    params, tokens = model.params(input_shape, num_classes), model.tokens(input_shape)
    for what, count, most in (("parameters", params, MOST_PARAMS), ("tokens", tokens, MOST_TOKENS)):
        if count > most:
            raise SpecError(
                f"a model must have at most {most:,} {what}, got {count:,}; make it, or its images, smaller."
            )
    return Cost(
        params=params,
        trainable_params=model.trainable_params(input_shape, num_classes),
        tokens=tokens,
        macs=model.macs(input_shape, num_classes),
        macs_modules=model.macs(input_shape, num_classes, convention="macs_modules"),
        macs_fvcore=model.macs(input_shape, num_classes, convention="macs_fvcore"),
    )
