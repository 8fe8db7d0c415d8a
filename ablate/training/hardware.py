"""What a run computes on: devices, threads, precision, determinism."""

import importlib
import importlib.util
import os
import sys
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ablate.identity import backend, keras_file
from ablate.installation import EXTRA_OF, install, require

MOST = 4096
"""Threads or devices: more than any one machine has."""


class HardwareError(ValueError):
    """Hardware that is not here; one sentence."""


class Precision(StrEnum):
    """Keras dtype policies."""

    float32 = "float32"
    mixed_bfloat16 = "mixed_bfloat16"
    mixed_float16 = "mixed_float16"


class Device(StrEnum):
    """Kinds of devices; ``auto`` takes a GPU where the framework finds one."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


@dataclass
class HardwareSpec:
    """Attributes:
    device: What is computed on.
    replicas: Devices that share each batch, the weights copied to all (TensorFlow's MirroredStrategy); None takes all.
    threads: Threads of this process's numerical work; None leaves the choice to the framework.
    precision: Keras dtype policy of the model; weights stay float32 under the mixed ones.
    deterministic: Ask the backend for the same bits in every run, at some cost in speed.
    """

    device: Device = Device.auto
    replicas: int | None = 1
    threads: int | None = None
    precision: Precision = Precision.float32
    deterministic: bool = False

    def check(self) -> None:
        """Raises HardwareError for threads or devices that no machine has."""
        for name, value in (("threads", self.threads), ("replicas", self.replicas)):
            if value is not None and value < 1:
                raise HardwareError(f"hardware.{name} must be at least 1, got {value}.")
            if value is not None and value > MOST:
                raise HardwareError(f"hardware.{name} must be at most {MOST:,}, got {value:,}.")


def import_keras() -> None:
    """Imports Keras and its backend without TensorFlow's start-up notes, which no setting of its own hides altogether.

    They are written below Python, so the file descriptor is what is turned away; an import that fails shows them.

    Raises:
        HardwareError: ``KERAS_BACKEND`` names none that trains here, or one that is not installed, or Keras' own file
            of settings ends its import.
    """
    check_backend()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if sys.stderr is None:  # closed by whoever started this process
        _import()
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as notes, open(os.dup(2), "wb") as screen:
        os.dup2(notes.fileno(), 2)
        try:
            _import()
        except BaseException:
            notes.seek(0)
            screen.write(notes.read())
            raise
        finally:
            os.dup2(screen.fileno(), 2)


def _import() -> None:
    try:
        importlib.import_module("keras")
    except (ValueError, TypeError, AttributeError, OSError) as error:
        if not (file := keras_file()).exists():
            raise
        told = " ".join(str(error).split()).rstrip(".")
        raise HardwareError(f"{file} must hold settings that Keras takes, but: {told}; mend or remove it.") from None
    _settle()
    _find_devices()


def _settle() -> None:
    """What this package stands on, whatever the user's keras.json says: it is no part of a run, and must not change it.

    Keras' own defaults, but for the dtype policy, which ``prepare`` sets.
    """
    import keras

    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")


def check_backend() -> None:
    """What Keras would say of ``KERAS_BACKEND``, or of the backend in its own file, without naming it.

    Raises:
        HardwareError: It names none that trains here, or one that is not installed.
    """
    said = os.environ.get("KERAS_BACKEND")
    if not said and not keras_file().exists():
        return
    name, where = backend(), "the environment's KERAS_BACKEND" if said else f"the backend in {keras_file()}"
    if name not in _BACKENDS:
        raise HardwareError(f"{where} must be {' or '.join(_BACKENDS)}, got {name!r}.")
    if name != "tensorflow" and importlib.util.find_spec(name) is None:  # of the default, ``require_keras`` says it
        raise HardwareError(f"{where} must be one that is installed, got {name!r}: {install(EXTRA_OF[name])}.")


_BACKENDS = ("tensorflow", "jax")


def require_keras(what: str) -> None:
    """Looks for Keras and its backend without importing either.

    Args:
        what: What needs them, as the sentence begins.

    Raises:
        HardwareError: ``KERAS_BACKEND`` names none that trains here.
        MissingPackageError: One of them is not installed.
    """
    check_backend()
    require(what, "keras", backend())


def _find_devices() -> None:
    """TensorFlow looks for a GPU at the first question, and tells of a driver without a device then."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.list_physical_devices()


def prepare(spec: HardwareSpec) -> None:
    """Applies the spec to this process. Threads and devices hold from before the backend's first operation on.

    Raises:
        HardwareError: ``threads`` or ``replicas`` make no sense, there are fewer devices, or they are in use already.
    """
    spec.check()
    import keras

    _settle()

    if keras.backend.backend() == "tensorflow":
        _prepare_tensorflow(spec)
    elif spec.device != Device.auto or spec.replicas != 1:
        raise HardwareError(
            "hardware.device and hardware.replicas must be auto and 1 without KERAS_BACKEND=tensorflow, got "
            f"{spec.device} and {spec.replicas}; choose JAX's devices by JAX_PLATFORMS."
        )
    keras.config.set_dtype_policy(str(spec.precision))


def _prepare_tensorflow(spec: HardwareSpec) -> None:
    import tensorflow as tf

    if spec.threads is not None and tf.config.threading.get_intra_op_parallelism_threads() != spec.threads:
        tf.config.threading.set_intra_op_parallelism_threads(spec.threads)
        tf.config.threading.set_inter_op_parallelism_threads(spec.threads)
    if spec.deterministic:
        tf.config.experimental.enable_op_determinism()
    names = _devices(spec)
    if tf.distribute.has_strategy():
        if tf.distribute.get_strategy().num_replicas_in_sync == len(names):
            return
        tf.distribute.experimental_set_strategy(None)
    if len(names) > 1:
        tf.distribute.experimental_set_strategy(tf.distribute.MirroredStrategy(names))


def _devices(spec: HardwareSpec) -> list[str]:
    """Names of the devices that share a batch."""
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    if spec.device == Device.cpu or (spec.device == Device.auto and not found):
        return _processors(spec, found)
    count = len(found) if spec.replicas is None else spec.replicas
    if not 0 < count <= len(found):
        raise HardwareError(
            f"hardware.replicas must be at most the number of GPUs, and TensorFlow sees {len(found)} GPUs, got "
            f"hardware.device={spec.device} and hardware.replicas={spec.replicas}; check the driver, or take "
            "hardware=cpu."
        )
    return [f"GPU:{i}" for i in range(count)]


def _processors(spec: HardwareSpec, gpus: list[Any]) -> list[str]:
    """This machine's processor, cut into as many devices as asked for: slower than one, to try what many would do."""
    import tensorflow as tf

    count = spec.replicas or 1
    try:
        if gpus and tf.config.get_visible_devices("GPU"):
            tf.config.set_visible_devices([], "GPU")
        (processor,) = tf.config.list_physical_devices("CPU")
        # Once cut, a processor stays so: one part of it computes like the whole.
        if count > len(tf.config.get_logical_device_configuration(processor) or [0]):
            parts = [tf.config.LogicalDeviceConfiguration()] * count
            tf.config.set_logical_device_configuration(processor, parts)
    except RuntimeError as error:
        raise HardwareError(
            f"hardware.device={spec.device} and hardware.replicas={spec.replicas} must be set before this process "
            f"computes ({error}); take one kind of hardware a process."
        ) from error
    return [f"CPU:{i}" for i in range(count)]
