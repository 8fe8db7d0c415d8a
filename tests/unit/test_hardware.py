"""What a run computes on. Each case has a process of its own: these are a process's settings."""

import json
import subprocess
import sys

import numpy as np
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


@pytest.mark.parametrize("spec", ["device='gpu'", "device='gpu', replicas=None", "device='gpu', replicas=2"])
def test_hardware_without_a_gpu_says_so(spec):
    with pytest.raises(ValueError, match=r"TensorFlow sees 0 GPUs.*take hardware=cpu"):
        prepare(eval(f"HardwareSpec({spec})"))


def test_hardware_refuses_no_replicas():
    with pytest.raises(ValueError, match=r"hardware.replicas must be at least 1, got 0"):
        prepare(HardwareSpec(replicas=0))


REPLICAS = """
import json, numpy as np
from ablate.config import compose, to_config
from ablate.run import Workbench, run
words = ["model=tiny", "data=digits", "data.per_class=13", "train.epochs=2", "train.batch_size=50", "train.clip_norm=1",
         "train.accumulate=2", "train.ema_decay=0.9", "hardware.device=cpu", "model.attention_dropout=0",
         "model.stochastic_depth=0", "train.label_smoothing=0.1", "augment.mixup=0.8"]
plain = [word for word in words if "clip" not in word and "accumulate" not in word and "ema" not in word]
for chosen in (words, plain):
    for replicas in (2, 1):
        record = run(to_config(compose([*chosen, f"hardware.replicas={replicas}"])).point(), Workbench())
        curve = [[e.train_loss, e.val_loss, e.train_top1_percent] for e in record.history.epochs]
        kind = type(record.model.weights[0].value).__name__
        print(json.dumps([kind, curve, record.history.test_loss]))
"""


@pytest.mark.full
def test_hardware_replicas_train_as_one_device_does(tmp_path):
    done = subprocess.run([sys.executable, "-c", REPLICAS], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    for two, one in (results[:2], results[2:]):
        assert (two[0], one[0]) == ("MirroredVariable", "ResourceVariable")
        assert np.array(two[1]) == pytest.approx(np.array(one[1]), rel=2e-5)
        assert two[2] == pytest.approx(one[2], rel=2e-5)
