"""What can be said of one training, as dataclasses: a run, and the command line's whole configuration around it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from ablate.config.overrides import ConfigError
from ablate.config.schema import EngineConfig, check_path
from ablate.data.augment import AugmentSpec
from ablate.data.spec import SOURCES, DataSpec
from ablate.identity import Code, keras_backend
from ablate.models.spec import ModelSpec
from ablate.training.hardware import HardwareSpec
from ablate.training.spec import SeedSpec, TrainSpec


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
        parts: dict[str, Any] = {part.name: getattr(self, part.name) for part in fields(RunSpec)}
        plain = {name: part if isinstance(part, int) else asdict(part) for name, part in parts.items()}
        return dict(_leaves(plain))

    def check_selection(self) -> None:
        """Raises TrainError where validation is to select, and ``data.val_fraction`` holds nothing out."""
        self.train.check_validation(self.data.val_fraction > 0)

    def modules(self) -> list[str]:
        """Modules outside the package that define the model's variants: a plugin's spec, and its layer."""
        entries = list(self.model.entries())
        named = [e.layer.partition(":")[0] if isinstance(e.layer, str) else e.layer.__module__ for e in entries]
        every = sorted({*named, *(entry.spec.__module__ for entry in entries)})
        return [name for name in every if name.partition(".")[0] != "ablate"]

    def defaults(self) -> dict[str, Any]:
        """Every leaf of a run in which nothing is set; of what follows from other leaves, what follows from this run's.

        The options of this run's variants are among them.
        """
        options = {slot: asdict(type(variant)()) for slot, variant in self.model.chosen()}
        own = {"options": options, **dict(_following(self.model))}
        return RunSpec().leaves() | dict(_leaves({"model": own}))

    def code(self, backend: str) -> Code:
        """Where the code that computes this run begins: all that is chosen by a name, and what every run uses.

        Args:
            backend: Keras' backend, ``tensorflow`` or ``jax``.
        """
        entries = list(self.model.entries())
        parts = [type(part) for each in fields(RunSpec) if not isinstance(part := getattr(self, each.name), int)]
        roots = {*_COMPUTES, *map(_place, parts)}
        roots |= {_place(part) for entry in entries for part in (entry.spec, entry.layer)}
        roots |= {f"{SOURCES[self.data.source]}:{name}" for name in ("read", "MEAN", "STD")}
        roots |= {"ablate.models.weights:load_weights"} if self.model.weights else set()
        return Code(tuple(sorted(roots)), frozenset(self._apart(backend)))

    def _apart(self, backend: str) -> set[str]:
        """Modules that training names and this run does not use."""
        used = {backend} | ({"mirrored"} if self.hardware.replicas != 1 else set())
        steps = {f"ablate.training.steps.{name}" for name in ("tensorflow", "jax", "mirrored") if name not in used}
        pictures = set() if self.augment.active else {"ablate.data.augment.augmenter"}
        return {*TELLS, *steps, *pictures}


_COMPUTES = (
    *("ablate.models.classifier:drawn", "ablate.data.load:load"),
    *("ablate.training.hardware:import_keras", "ablate.training.hardware:prepare", "ablate.training.trainer:Trainer"),
    "ablate.training.checkpoint:Checkpoint",
)
"""What every run computes with, whatever its settings."""

TELLS = ("ablate.escaping", "ablate.installation", "ablate.words", keras_backend.__name__)
"""What is said to people when something is wrong, and which backend computes, which is told apart."""


def _following(model: ModelSpec) -> Iterator[tuple[str, Any]]:
    """What each leaf of a model would be that follows from the others where it is not set."""
    for each in fields(ModelSpec):
        if each.default is None and getattr(model, each.name) is not None:
            unset: dict[str, Any] = {each.name: None}
            with suppress(ValueError):  # the others make no model without it
                yield each.name, getattr(replace(model, **unset).resolved(), each.name)


def _place(part: Any) -> str:
    """Where a definition stands; of one outside the package, its module."""
    name = str(getattr(part, "__qualname__", "")).partition(".")[0]
    named = part if isinstance(part, str) else f"{part.__module__}:{name}"
    return named if named.startswith("ablate.") else named.partition(":")[0]


@dataclass
class Config(EngineConfig, RunSpec):
    """All that the command line can say: a run, what is swept over it, who works, and where things are kept."""

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


_PATHS = ("model.weights", "data.root", "data.cache")
"""Leaves of a point that name a file or a folder, and have no check of their own in ``point``."""


def _check_readable(key: str, path: str | None) -> None:
    """Raises ConfigError for a file that cannot be read: before anything is imported, or trains."""
    if path and not (Path(path).expanduser().is_file() and os.access(Path(path).expanduser(), os.R_OK)):
        raise ConfigError(f"{key} must name a file that can be read, got {path!r} (looked from {os.getcwd()}).")


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
