"""One run of image classification and its record: files, final metrics, and a line for people."""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from ablate.config.recorded import as_yaml
from ablate.contract import Observer, Record
from ablate.data import Splits
from ablate.data.augment.sheet import contact_sheet
from ablate.data.together import together
from ablate.provenance import provenance
from ablate.sweep.interrupts import remembered, terminable
from ablate.sweep.output import show
from ablate.sweep.run_record import recorded
from ablate.sweep.screen import RunScreen
from ablate.tasks.classify.run import RunRecord, Workbench, counted, identify, run
from ablate.tasks.classify.spec import Config, RunSpec
from ablate.tracking import Store
from ablate.tracking.correctness import packed
from ablate.tracking.liveness import sign_of_worker
from ablate.tracking.names import (
    CONFIG_FILE,
    DATA_NOTES,
    DIVERGED,
    EPOCHS_TRAINED,
    MODEL_FILE,
    MODEL_INPUT_FILE,
    PREDICTIONS_FILE,
    SECONDS,
    SELECTED_EPOCH,
    TEST_LOSS,
    TEST_TOP1,
    TRAIN_EXAMPLES,
    VAL_TOP1,
    WORKER,
)
from ablate.training.hardware import prepare
from ablate.training.history import History, Predictions


def train_one(config: Config) -> int:
    """Trains, records and prints one model.

    Returns:
        Exit code 0: a run that diverges has an outcome too.
    """
    spec, store = config.point(), Store(config.tracking)
    tags = provenance() | {WORKER: sign_of_worker()}
    writer = store.start_run(f"{config.model.tokenizer} {spec.seed}", spec.leaves(), tags)
    with remembered(), terminable():
        result = recorded(spec, ClassifierRunner(), writer, RunScreen(), model=config.tracking.log_model)
    show(result.line, f"record: run {writer.run_id} in {store.uri_shown}")
    return 0


class ClassifierRunner:
    """Trains one model after the other in this process (``contract.Runner``)."""

    def __init__(self) -> None:
        self._workbench = Workbench()

    def identities(self, spec: RunSpec) -> list[str]:
        """Digest of all that can change the run's result, then what earlier versions called it; reads its data.

        Raises:
            DataError: The data cannot be read.
        """
        prepare(spec.hardware)
        return identify(spec, self._workbench.splits(spec.data))

    def run(self, spec: RunSpec, observer: Observer) -> "Trained":
        """Trains and tests one model."""
        return Trained(spec, run(spec, self._workbench, observer))


class Trained:
    """What a training leaves behind (``contract.Result``)."""

    def __init__(self, spec: RunSpec, record: RunRecord) -> None:
        self._spec, self._record, self._history = spec, record, record.history

    @property
    def diverged(self) -> str:
        """Why a loss was no number any more; empty where the run finished."""
        return self._history.reason

    @property
    def line(self) -> str:
        """How the run ended, in one line."""
        history = self._history
        if history.status == DIVERGED:
            return f"diverged: {history.reason}"
        val = "" if history.val_top1_percent is None else f"val {history.val_top1_percent:.2f} %, "
        chosen = ", chosen on the test set" if history.epochs[0].test_top1_percent is not None else ""
        test = f"test {history.test_top1_percent:.2f} % (epoch {history.selected_epoch}{chosen})"
        return f"{val}{test} in {history.seconds:.1f} s"

    @property
    def metrics(self) -> Mapping[str, float]:
        """What a search may select by: cost, the last epoch, and what is known in the end."""
        last = self._history.epochs[-1].recorded()
        return counted(self._record.cost) | last | _final(self._history) | {SECONDS: self._history.seconds}

    def write(self, record: Record, *, model: bool) -> None:
        """Writes files, counts and final metrics, of a run that diverged as far as there are any."""
        spec, splits, history = self._spec, self._record.splits, self._history
        record.artifact(CONFIG_FILE, as_yaml(spec))
        if spec.augment.active:
            record.artifact("augmented.png", contact_sheet(splits, spec.augment, spec.seeds.augment))
        if splits.notes:
            record.tag({DATA_NOTES: "\n".join(splits.notes)})
        told = {SECONDS: history.seconds, EPOCHS_TRAINED: len(history.epochs)}
        record.log(told | {TRAIN_EXAMPLES: len(splits.train)})
        if history.status == DIVERGED:
            return
        if (test := history.test_predictions) is not None:
            record.artifact(PREDICTIONS_FILE, _archive(test))
            clusters = together(spec.data, test.label)
            record.tag(packed(test.predicted == test.label, test.label, clusters))
        if model:
            with record.local_artifact(MODEL_FILE) as path:
                self._record.model.save(path)
            record.artifact(MODEL_INPUT_FILE, _input(spec, splits))
        record.log(_final(history))

    def release(self) -> None:
        """Removes the run's checkpoint."""
        self._record.checkpoint.remove()


def _input(spec: RunSpec, splits: Splits) -> str:
    """What the model takes and what its outputs are called, as JSON: its file knows neither pixels nor names."""
    told = {"shape": splits.input_shape, "mean": splits.mean, "std": splits.std, "classes": splits.classes}
    return json.dumps({**told, "modules": spec.modules()}, indent=1, ensure_ascii=False)


def _final(history: History) -> dict[str, float]:
    values = {
        VAL_TOP1: history.val_top1_percent,
        TEST_TOP1: history.test_top1_percent,
        TEST_LOSS: history.test_loss,
        SELECTED_EPOCH: history.selected_epoch,
    }
    return {name: value for name, value in values.items() if value is not None}


def _archive(predictions: Predictions) -> bytes:
    """The test set's labels and what the model said, as an .npz file's bytes."""
    content = io.BytesIO()
    np.savez_compressed(content, **asdict(predictions))
    return content.getvalue()
