"""One point, from its settings to what it leaves behind: data, model, training and cost, wired together."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras

from ablate.contract import Observer
from ablate.data import DataSpec, Splits
from ablate.data import load as load_data
from ablate.identity import backend, code_version, content, identity, known_cells, known_settings, settings
from ablate.models.classifier import drawn
from ablate.models.profile import Profile, profile
from ablate.models.weights import Loaded, WeightsError, load_weights
from ablate.tasks.classify.spec import RunSpec
from ablate.tasks.classify.whole_code import whole_code
from ablate.tracking.names import (
    BACKEND,
    CELL,
    COST,
    DATA_DIGEST,
    EARLIER_CELL,
    IDENTITY,
    SETTINGS,
    SOURCES,
    WEIGHTS,
)
from ablate.training import Checkpoint, History, Trainer
from ablate.training.hardware import prepare

KEPT_PARAMS = 50_000_000
"""Parameters that the compiled models of one process may hold together before the oldest goes."""


@dataclass(frozen=True)
class RunRecord:
    """What a run leaves behind.

    Attributes:
        identity: Digest of all that can change the result.
        data_digest: Digest of the images, labels and split that were read.
        cost: Parameters, tokens and MACs, counted on the built model.
        loaded: What became of the weights in the file that it started from, if any.
        history: Curves, selected epoch, final metrics and predictions.
        model: The trained model, with the selected weights; the next run on the same graph overwrites it.
        splits: The data that the model was trained and tested on.
        checkpoint: The run's state on disk: to be removed once the run is on record.
    """

    identity: str
    data_digest: str
    cost: Profile
    loaded: Loaded | None
    history: History
    model: keras.Model
    splits: Splits
    checkpoint: Checkpoint


@dataclass
class _Bench:
    trainer: Trainer
    cost: Profile
    loaded: Loaded | None


class Workbench:
    """What the runs of one process share: data read once, and compiled models, one for all seeds, rates and decays."""

    def __init__(self) -> None:
        self._splits: dict[str, Splits] = {}
        self._benches: dict[str, _Bench] = {}

    def splits(self, spec: DataSpec) -> Splits:
        """The data, read at its first use."""
        key = _key(spec)
        if key not in self._splits:
            self._splits = {key: load_data(spec)}  # one at a time: a sweep over data sets would hold them all
        return self._splits[key]

    def bench(self, spec: RunSpec, splits: Splits) -> _Bench:
        """The compiled model for this architecture and data shape: all else enters its graph as a value."""
        weights = content(spec.model.weights) if spec.model.weights else None
        shapes = [splits.input_shape, splits.num_classes, spec.train.freeze, weights]
        key = _key(spec.model) + _key(spec.hardware) + json.dumps(shapes)
        if key not in self._benches:
            trainer = Trainer(lambda: _start(spec, splits)[0], freeze=spec.train.freeze)
            loaded = _start(spec, splits)[1] if weights else None
            self._benches[key] = _Bench(trainer, profile(trainer.model), loaded)
        self._benches[key] = self._benches.pop(key)  # the newest stands last
        while len(self._benches) > 1 and sum(b.cost.params for b in self._benches.values()) > KEPT_PARAMS:
            del self._benches[next(iter(self._benches))]
        return self._benches[key]


def identify(spec: RunSpec, splits: Splits) -> list[str]:
    """The run's identity, now that its data is read, then what earlier versions called the same run."""
    told = known_settings(spec.leaves(), spec.defaults(), code=spec.code(backend()), backend=backend())
    return [identity(each, splits.digest) for each in told]


def _folder_of_state(spec: RunSpec, names: Sequence[str]) -> Path:
    """Where the run's state is kept: as an earlier version called the run, where that one left a state."""
    folders = [Path(spec.train.checkpoint_dir) / name for name in names]
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def _start(spec: RunSpec, splits: Splits) -> tuple[keras.Model, Loaded | None]:
    """The model as a training starts with it: weights drawn, then those set that the file holds."""
    model = drawn(spec.model, splits.input_shape, splits.num_classes)
    if spec.model.weights is None:
        return model, None
    return model, load_weights(model, spec.model.weights, key=spec.model.weights_key, warn=False)


def check_weights(specs: Mapping[str, RunSpec]) -> list[str]:
    """Loads each file of weights onto the models that are to start from it, before any of them trains.

    Args:
        specs: Runs by what an error calls them.

    Returns:
        For people: a line for each file and what became of its weights.

    Raises:
        WeightsError: A file does not fit the model of a run.
    """
    workbench, lines, seen = Workbench(), [], set()
    for label, spec in specs.items():
        key = _key(spec.model) + _key(spec.data)
        if spec.model.weights is None or key in seen:
            continue
        seen.add(key)
        prepare(spec.hardware)
        try:
            lines.append(f"weights: {_start(spec, workbench.splits(spec.data))[1]}")
        except WeightsError as error:
            raise WeightsError(f"model.weights must fit the model, but for {label}: {error}") from None
    return list(dict.fromkeys(lines))


def graph_key(spec: RunSpec) -> str:
    """A key that is the same for runs that share a graph, as far as can be told before the data is read."""
    return _key(spec.model) + _key(spec.hardware) + _key(spec.data) + spec.train.freeze


def _key(spec: Any) -> str:
    return json.dumps(asdict(spec), sort_keys=True, default=str)


def run(spec: RunSpec, workbench: Workbench, observer: Observer | None = None) -> RunRecord:
    """Trains and tests one model; an interrupted run of the same identity goes on from where it was kept.

    Args:
        spec: The run's settings.
        workbench: Shared by the runs of a process.
        observer: Hears of the run meanwhile; None where nobody listens.

    Raises:
        DataError: The data cannot be read.
        WeightsError: The file of weights does not fit the model.
        SpecError: The model cannot be built on it.
        TrainError: The training rule does not fit the data.
    """
    observer = observer or Observer()
    prepare(spec.hardware)
    splits = workbench.splits(spec.data)
    bench = workbench.bench(spec, splits)
    names = identify(spec, splits)
    observer.started(_tags(spec, names[0], splits.digest, bench.loaded), counted(bench.cost))
    checkpoint = Checkpoint(_folder_of_state(spec, names), spec.train.checkpoint_every)
    history = bench.trainer.fit(
        splits, spec.train, spec.seeds, augment=spec.augment, observer=observer, checkpoint=checkpoint
    )
    model = bench.trainer.model
    return RunRecord(names[0], splits.digest, bench.cost, bench.loaded, history, model, splits, checkpoint)


def _tags(spec: RunSpec, name: str, data_digest: str, loaded: Loaded | None) -> dict[str, str]:
    """What a record says of a run before its first step."""
    leaves, defaults, code = spec.leaves(), spec.defaults(), spec.code(backend())
    told = settings(leaves, defaults, code=code, backend=backend())
    own, *earlier = known_cells(leaves, defaults)
    tags = {IDENTITY: name, SETTINGS: told, CELL: own} | ({EARLIER_CELL: earlier[-1]} if earlier else {})
    tags |= {DATA_DIGEST: data_digest, SOURCES: code_version(whole_code()), BACKEND: backend()}
    if loaded is None:
        return tags
    weights = {"digest": content(spec.model.weights or ""), "head": loaded.head, "loaded": str(loaded)}
    weights |= {"key": loaded.key} if loaded.key is not None else {}
    return tags | {f"{WEIGHTS}{part}": text for part, text in weights.items()}


def counted(cost: Profile) -> dict[str, float]:
    """A model's cost under its recorded names."""
    names = ("params", "trainable_params", "macs", "macs_modules", "macs_fvcore", "tokens")
    return {f"{COST}{name}": getattr(cost, name) for name in names}
