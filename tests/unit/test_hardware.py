"""What a run computes on. Each case has a process of its own: these are a process's settings."""

import subprocess
import sys

import pytest

from ablate.hardware import HardwareSpec, prepare


def _after(spec, question):
    code = (
        f"from ablate.hardware import HardwareSpec, prepare; prepare(HardwareSpec({spec}))\n"
        f"import keras, tensorflow as tf; print({question})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return out.strip().splitlines()[-1]


def test_hardware_threads_bound_the_process():
    assert _after("threads=1", "tf.config.threading.get_intra_op_parallelism_threads()") == "1"


def test_hardware_deterministic_asks_tensorflow_for_the_same_bits():
    question = "__import__('tensorflow.python.framework.config', fromlist=['x']).is_op_determinism_enabled()"
    assert _after("deterministic=True", question) == "True"
    assert _after("deterministic=False", question) == "False"


def test_hardware_precision_is_the_policy_of_new_layers():
    assert _after("precision='mixed_bfloat16'", "keras.layers.Dense(1).compute_dtype") == "bfloat16"


def test_hardware_refuses_no_threads():
    with pytest.raises(ValueError, match=r"hardware.threads must be at least 1, got 0"):
        prepare(HardwareSpec(threads=0))
