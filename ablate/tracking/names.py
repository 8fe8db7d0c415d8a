"""The words of the record: every tag key, metric name, outcome and artifact that a run carries in MLflow.

A record outlives the code that wrote it, so none of these words changes. Tests spell them out; the package takes them
from here. A prefix ends in a dot, and what follows it is said beside it. Parameters are the leaves of a run's settings
under their dotted names, as the command line writes them, and need no list.
"""

from collections.abc import Mapping
from typing import Final, Literal

# ------------------------------------------------------------------------------------- tags: what a run is, and of what

ROLE: Final = "ablate.role"
"""``SWEEP`` for a study's parent run, ``RUN`` for what trains; written by the store."""

SWEEP: Final = "sweep"
RUN: Final = "run"

PARENT: Final = "mlflow.parentRunId"
"""On a study's run: the id of the study's parent run, under which the MLflow UI folds it; written by the store."""

STUDY: Final = "ablate.study"
"""Name of the study that the run belongs to; none on a run of its own. Written by leader, worker and import."""

DEFINITION: Final = "ablate.sweep"
"""On the parent: the sweep's definition as JSON. What is longer than a tag goes on under ``ablate.sweep.2``, …"""

POINT: Final = "ablate.point"
"""Key of the point within its study, the same for every attempt at that point: a JSON list of ``[axis, level]``."""

LEVELS: Final = "ablate.levels"
"""On a search's run: the levels that were drawn for it, as a JSON object. Written by the worker."""

LEVEL: Final = "level."
"""Prefix of an axis: the run's level of it, by which the MLflow UI groups. Written by the store."""

SHOWN: Final = "ablate.shown."
"""Prefix of a study: ``RUN`` on all runs of it, those that serve it among them. Written by the store."""

VIEW: Final = "ablate.view"
"""On the parent: key of the study's view in the MLflow UI. Written by the store."""

SHARED_VIEW: Final = "mlflow.sharedViewState."
"""Prefix of a view's key, on the experiment: what the MLflow UI keeps of a shared view, as JSON."""

# -------------------------------------------------------------------------------- tags: which runs have the same result

IDENTITY: Final = "ablate.identity"
"""Digest of all that can change the result, the data's content among it. Written by the worker."""

SETTINGS: Final = "ablate.settings"
"""Digest of what ``IDENTITY`` is of, less the data's content: what ``plan`` can tell before reading it."""

CELL: Final = "ablate.cell"
"""Digest of the settings without seeds and repeat: runs that share it differ by chance alone."""

EARLIER_CELL: Final = "ablate.cell.earlier"
"""``CELL`` as the earliest version that could have made the run told it; none where no earlier one could."""

SOURCES: Final = "ablate.sources"
"""Digest of the code that the run reaches."""

BACKEND: Final = "ablate.backend"
"""Keras' backend: ``tensorflow`` or ``jax``."""

DATA: Final = "ablate.data."
"""Prefix of what was found when the data was read: its digest, its notes."""

DATA_DIGEST: Final = "ablate.data.digest"
"""Digest of the images, labels and split that were read."""

DATA_NOTES: Final = "ablate.data.notes"
"""What was noted while the data was read, a sentence a line."""

WEIGHTS: Final = "ablate.weights."
"""Prefix of ``digest``, ``head``, ``loaded`` and ``key``: the file of weights that the run started from."""

RESUMED: Final = "ablate.resumed_after_epoch"
"""How many epochs an earlier attempt had finished, from which this one went on."""

SERVES: Final = "ablate.serves."
"""Prefix of another study, on a finished run: the point of that study for which it counts as well."""

REDRAWN: Final = "ablate.redrawn."
"""Prefix of a search's study, on a finished run: JSON list of the trials that drew the same and were not trained."""

# ----------------------------------------------------------------------------------------- tags: how far a run has come

STATUS: Final = "ablate.status"
"""``RUNNING``, or how the run ended: a `RunStatus`. Written by the run's writer."""

REASON: Final = "ablate.reason"
"""Why it diverged, was pruned, failed or was killed, in one sentence."""

WORKER: Final = "ablate.worker"
"""The process that trains the run, or copies it from a file: its machine, number and time of birth (``liveness``)."""

ATTEMPT: Final = "ablate.attempt"
"""A name of our own for the run, 32 hex digits, from before MLflow has an id for it. Written by the store."""

WITHOUT_ID: Final = "waiting-"
"""How a queue calls a run that MLflow has no id for yet: this, then its ``ATTEMPT``."""

IMPORTED: Final = "ablate.imported"
"""``true`` on what an import wrote: the parent that it made, and each copy of a run."""

ORIGINAL_RUN: Final = "ablate.imported.run"
"""Id of the run in the store that had it first, on a run that was imported, or made anew where it was gone."""

RUNNING: Final = "running"
FINISHED: Final = "finished"
DIVERGED: Final = "diverged"
PRUNED: Final = "pruned"
FAILED: Final = "failed"
KILLED: Final = "killed"
SUPERSEDED: Final = "superseded"
"""Finished after another worker had taken the point over: counts nowhere."""

RunStatus = Literal["finished", "diverged", "pruned", "failed", "killed", "superseded"]
"""How a run ended."""

NO_RESULT: Final = "no result"
"""What a report says of somebody else's run whose value is empty; no run records it."""

Outcome = Literal["finished", "diverged", "pruned", "failed", "killed", "no result", "running"]
"""What a report says of a run that counts for its point."""

OUTCOMES: Final = (FINISHED, DIVERGED, PRUNED)
"""Values of ``STATUS`` by which a point is through: it is not trained again."""

MLFLOW_RUNNING: Final = "RUNNING"
MLFLOW_FINISHED: Final = "FINISHED"
MLFLOW_FAILED: Final = "FAILED"
MLFLOW_KILLED: Final = "KILLED"

MLFLOW_STATUS: Final[Mapping[RunStatus, str]] = {
    FINISHED: MLFLOW_FINISHED,
    DIVERGED: MLFLOW_FINISHED,  # an outcome like any other, told apart by its tag
    PRUNED: MLFLOW_FINISHED,
    FAILED: MLFLOW_FAILED,
    KILLED: MLFLOW_KILLED,
    SUPERSEDED: MLFLOW_KILLED,
}
"""MLflow's own status of a run that ended so."""

# --------------------------------------------------------------------------------------- tags: where a result came from

COMMIT: Final = "mlflow.source.git.commit"
"""Git commit of the code, 40 hex digits; none outside a repository. Written by ``provenance``, as what follows is."""

DIRTY: Final = "ablate.git.dirty"
"""``true`` where tracked files differed from that commit, else ``false``."""

VERSION: Final = "ablate.version."
"""Prefix of ``ablate``, ``python`` or a library: its version."""

PLATFORM: Final = "ablate.platform"
"""Operating system, as ``platform.platform`` names it."""

CPU: Final = "ablate.cpu"
"""Number of logical cores and the processor's name, as ``8 x NAME``."""

MLFLOW: Final = "mlflow."
"""Prefix of tags that MLflow gives a meaning to, whoever writes them."""

SOURCE_NAME: Final = "mlflow.source.name"
SOURCE_TYPE: Final = "mlflow.source.type"
"""What the MLflow UI shows as a run's source; written by the store."""

# ----------------------------------------------------------------------- tags: which examples of the test set are right

TESTED: Final = "ablate.tested"
"""Number of test images, a colon, and a digest of which they are. Written by the worker (``correctness``)."""

RIGHT: Final = "ablate.right"
"""Which of them the run got right, a bit an image, in base64; goes on under ``ablate.right.2``, …"""

CLUSTERS: Final = "ablate.clusters"
"""Which of them belong together: a bit an image, 1 where another group begins, kept as ``RIGHT`` is; none where no
folder says it."""

# -------------------------------------------------------------------------------------------------------------- metrics

COST: Final = "cost."
"""Prefix of what one forward pass costs, counted on the built model: ``params``, ``macs``, ``tokens``, …"""

PARAMS: Final = "cost.params"
"""Parameters of the model, a number."""

TRAINABLE_PARAMS: Final = "cost.trainable_params"
"""Parameters of the model that are trained, a number."""

MACS: Final = "cost.macs"
"""Multiply-accumulates of one example's forward pass."""

TOKENS: Final = "cost.tokens"
"""Length of the sequence that enters the encoder."""

TRAIN_EXAMPLES: Final = "data.train_images"
"""Number of training examples."""

TRAIN_LOSS: Final = "train/loss"
"""Mean training loss of each epoch."""

VAL: Final = "val/"
"""Prefix of what validation data tells after each epoch; ``FINAL_VAL`` of what they tell of the selected epoch."""

FINAL_VAL: Final = "final.val_"

VAL_LOSS: Final = "val/loss"
"""Mean validation loss at the end of each epoch; none without validation data."""

LEARNING_RATE: Final = "train/lr"
"""Learning rate of each epoch's last step."""

EPOCH_SECONDS: Final = "train/seconds_per_epoch"
"""Wall time of each epoch in seconds, validation included; a first epoch includes the tracing of the graph."""

SECONDS: Final = "final.seconds"
"""Wall time of the whole run in seconds, test and earlier attempts included."""

EPOCHS_TRAINED: Final = "final.epochs_trained"
"""Number of epochs that were trained."""

SELECTED_EPOCH: Final = "final.epoch"
"""The epoch, from 1, whose weights were tested and kept."""

# ------------------------------------------------------------------------------- metrics of image classification, top-1

TEST_TOP1: Final = "final.test_top1_percent"
"""Test accuracy in percent, of the selected epoch's weights: what a report compares by default."""

VAL_TOP1: Final = "final.val_top1_percent"
"""Validation accuracy in percent at the selected epoch: what a search selects by; none without validation images."""

TEST_LOSS: Final = "final.test_loss"
"""Mean cross entropy on the test set, of the selected epoch's weights."""

MODEL_VAL_TOP1: Final = "ablate.val_top1_percent"
"""On a version of a registered model: its run's ``VAL_TOP1``, with four decimals, as text."""

TRAIN_TOP1_CURVE: Final = "train/top1_percent"
VAL_TOP1_CURVE: Final = "val/top1_percent"
TEST_TOP1_CURVE: Final = "test/top1_percent"
"""Accuracy in percent at the end of each epoch; on the test set only where that selects the epoch."""

# ------------------------------------------------------------------------------------------------------------ artifacts

CONFIG_FILE: Final = "config.yaml"
"""Settings of the run, as YAML that composes to the same run."""

TRACEBACK_FILE: Final = "traceback.txt"
"""Python's traceback of a run that failed."""

PREDICTIONS_FILE: Final = "test_predictions.npz"
"""Probabilities, predicted and true class of each test image."""

MODEL_FILE: Final = "model.keras"
"""The trained model, as Keras keeps it."""

MODEL_INPUT_FILE: Final = "model.input.json"
"""What goes into the model: shape, mean, std, classes, modules of plugins."""

REPORT_FILE: Final = "report.md"
"""On the parent: the sweep's report as Markdown."""

TABLE_FILE: Final = "table.csv"
"""On the parent: the report's table."""

# -------------------------------------------------------------------------------------- columns of frames (`read_runs`)

AT: Final = "ablate.at."
"""Prefix of what a reading at equal compute adds to a frame: where a run was read; no run records it."""

AT_VAL_TOP1: Final = "at.val_top1_percent"
"""Validation accuracy in percent at equal compute, which such a reading adds to a frame; no run records it."""

TAG_COLUMN: Final = "tags."
METRIC_COLUMN: Final = "metrics."
PARAM_COLUMN: Final = "params."


def tag_column(key: str) -> str:
    """Column that holds a tag, such as ``tags.ablate.study``; of a prefix, how the columns begin."""
    return f"{TAG_COLUMN}{key}"


def metric_column(name: str) -> str:
    """Column that holds a metric, such as ``metrics.final.seconds``."""
    return f"{METRIC_COLUMN}{name}"


def param_column(leaf: str) -> str:
    """Column that holds a parameter, such as ``params.train.epochs``."""
    return f"{PARAM_COLUMN}{leaf}"
