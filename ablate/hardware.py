"""What a run computes on: threads, precision, determinism."""

import importlib
import os
import sys
import tempfile
from dataclasses import dataclass
from enum import StrEnum


class Precision(StrEnum):
    """Keras dtype policies."""

    float32 = "float32"
    mixed_bfloat16 = "mixed_bfloat16"
    mixed_float16 = "mixed_float16"


@dataclass
class HardwareSpec:
    """Attributes:
    threads: Threads of this process's numerical work; None leaves the choice to the framework.
    precision: Keras dtype policy of the model; weights stay float32 under the mixed ones.
    deterministic: Ask the backend for the same bits in every run, at some cost in speed.
    """

    threads: int | None = None
    precision: Precision = Precision.float32
    deterministic: bool = False


def import_keras() -> None:
    """Imports Keras and its backend without TensorFlow's start-up notes, which no setting of its own hides altogether.

    They are written below Python, so the file descriptor is what is turned away; an import that fails shows them.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    with tempfile.TemporaryFile() as notes, open(os.dup(2), "wb") as screen:
        os.dup2(notes.fileno(), 2)
        try:
            importlib.import_module("keras")
            _find_devices()
        except BaseException:
            notes.seek(0)
            screen.write(notes.read())
            raise
        finally:
            os.dup2(screen.fileno(), 2)


def _find_devices() -> None:
    """TensorFlow looks for a GPU at the first question, and tells of a driver without a device then."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.list_physical_devices()


def prepare(spec: HardwareSpec) -> None:
    """Applies the spec to this process. The thread count holds from before the backend's first operation on.

    Raises:
        ValueError: ``threads`` is below 1.
    """
    if spec.threads is not None and spec.threads < 1:
        raise ValueError(f"hardware.threads must be at least 1, got {spec.threads}.")
    import keras

    if keras.backend.backend() == "tensorflow":
        _prepare_tensorflow(spec)
    keras.config.set_dtype_policy(str(spec.precision))


def _prepare_tensorflow(spec: HardwareSpec) -> None:
    import tensorflow as tf

    if spec.threads is not None and tf.config.threading.get_intra_op_parallelism_threads() != spec.threads:
        tf.config.threading.set_intra_op_parallelism_threads(spec.threads)
        tf.config.threading.set_inter_op_parallelism_threads(spec.threads)
    if spec.deterministic:
        tf.config.experimental.enable_op_determinism()
