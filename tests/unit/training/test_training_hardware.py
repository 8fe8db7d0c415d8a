"""What a run computes on. Each case has a process of its own: these are a process's settings."""

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ablate.cli.training import plan, train
from ablate.config.compose import compose, to_config
from ablate.config.overrides import ConfigError
from ablate.data import DataError, DataSpec
from ablate.data.cache import folder_for
from ablate.identity import backend
from ablate.sweep.plan import make_plan
from ablate.training.hardware import HardwareSpec, import_keras, prepare


def _after(spec, question):
    code = (
        f"from ablate.training.hardware import HardwareSpec, prepare; prepare(HardwareSpec({spec}))\n"
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


@pytest.mark.parametrize(("backend", "said"), [("torhc", "tensorflow or jax, got 'torhc'"), ("jax", "is installed")])
def test_a_backend_that_cannot_be_had_is_named_with_its_variable(backend, said, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.setitem(sys.modules, "jax", None)
    for use in (import_keras, lambda: plan(["+sweep=pe_type"]), lambda: train(["model=tiny"], [])):
        with pytest.raises(ValueError, match=rf"KERAS_BACKEND must be .*{said}"):
            use()


OF_THE_USER = """
import os, numpy as np
from ablate.training.hardware import HardwareSpec, import_keras, prepare
import_keras()
import keras
from ablate.models.classifier import build
from ablate.models.spec import ModelSpec
found = [keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format()]
keras.config.set_floatx("float16"), keras.config.set_image_data_format("channels_first")  # as who imports Keras himself
prepare(HardwareSpec())
found += [keras.config.floatx(), keras.config.image_data_format()]
print(*found, build(ModelSpec(dim=8, heads=2), (8, 8, 1), 3)(np.zeros((2, 8, 8, 1))).dtype)
"""


def _with_keras_json(tmp_path, content):
    (tmp_path / "keras.json").write_text(content)
    command = [sys.executable, "-c", OF_THE_USER]
    env = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"} | {"KERAS_HOME": str(tmp_path)}
    return subprocess.run(command, capture_output=True, text=True, env=env)


def test_a_users_keras_json_changes_no_run(tmp_path):
    content = {"floatx": "float64", "epsilon": 0.1, "image_data_format": "channels_first", "backend": "tensorflow"}
    done = _with_keras_json(tmp_path, json.dumps(content))
    assert done.returncode == 0, done.stderr[-2000:]
    said = done.stdout.split()
    assert said == ["float32", "1e-07", "channels_last", "float32", "channels_last", "<dtype:", "'float32'>"]


@pytest.mark.parametrize("content", ['{"floatx": "bfloat16"}', '{"epsilon": 1}', "[]"])
def test_a_keras_json_that_keras_does_not_take_is_named(tmp_path, content):
    done = _with_keras_json(tmp_path, content)
    assert f"HardwareError: {tmp_path}/keras.json must hold settings that Keras takes" in done.stderr.splitlines()[-1]


def test_a_backend_of_keras_json_that_cannot_be_had_is_named_with_its_file(tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "keras.json").write_text('{"backend": "torch"}')
    with pytest.raises(ValueError, match=r"the backend in .*keras.json must be tensorflow or jax, got 'torch'"):
        plan(["+sweep=pe_type"])


@pytest.fixture
def homeless(monkeypatch):
    """A user as containers have them: a number, without a name, a home or an environment."""

    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "KERAS_HOME", "KERAS_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RuntimeError):
        Path.home()


def test_a_user_without_a_home_is_told_what_needs_one(homeless, tmp_path):
    assert backend() == "tensorflow"
    with pytest.raises(DataError, match=r"this user has no home: set data\.cache=PATH"):
        folder_for(DataSpec())
    assert folder_for(DataSpec(cache=str(tmp_path))) == tmp_path
    make_plan(["+sweep=pe_type"])
    with pytest.raises(ConfigError, match=r"data\.root must be a path, got ~/photos, and whose home folder"):
        to_config(compose(["data=folder", "data.root='~/photos'"])).point()


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
from ablate.config.compose import compose, to_config
from ablate.tasks.classify.run import Workbench, run
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


PARTS = """
import json, sys
from pathlib import Path
import keras, numpy as np
from ablate.contract import Observer
from ablate.training.hardware import HardwareSpec, prepare
from ablate.data import DataSpec, load
from ablate.models.classifier import build
from ablate.models.spec import ModelSpec
from ablate.training import Checkpoint, SeedSpec, Trainer, TrainSpec

SEEDS = SeedSpec(1, 2, 3)
splits = load(DataSpec(source="digits", per_class=13))
assert len(splits.train) == 130  # in batches of 43: 43, 43, 43, and 1 for two devices
ALONE = dict(attention_dropout=0.0, stochastic_depth=0.0)
EACH = {
    "plain": {}, "accumulate": {"accumulate": 3}, "clip": {"clip_norm": 0.5}, "average": {"ema_decay": 0.5},
    "all": {"accumulate": 3, "clip_norm": 0.5, "ema_decay": 0.5},
}

def trainer(precision, **model):
    keras.config.set_dtype_policy(precision)
    spec = ModelSpec(convs=1, layers=1, dim=16, heads=2, **model)
    return Trainer(lambda: build(spec, splits.input_shape, splits.num_classes))

def told(history):
    return [history.reason, [[e.train_loss, e.val_loss] for e in history.epochs], history.test_loss]

def state(which):
    return [np.asarray(variable).tolist() for variable in which._optimizer._variables]

def weights(which):
    return [np.asarray(weight).tolist() for weight in which.model.weights]

def rule(**more):
    return TrainSpec(epochs=2, batch_size=43, lr=3e-3, select="last", **more)

results = {}
for replicas in (2, 1):
    prepare(HardwareSpec(device="cpu", replicas=replicas))
    for precision in ("float32", "mixed_bfloat16", "mixed_float16"):
        used = trainer(precision, **ALONE)
        for name in EACH if precision == "float32" else ("plain", "all"):
            results[f"{precision} {name} {replicas}"] = told(used.fit(splits, rule(**EACH[name]), SEEDS))
    used._optimizer.initial_scale = 2.0**33
    results[f"skipped {replicas}"] = [told(used.fit(splits, rule(**EACH["all"]), SEEDS)), state(used)]
    if replicas == 2:
        class Killed(Exception):
            pass
        class Killing(Observer):
            seen = 0
            def batch(self, step, steps):
                self.seen += 1
                if self.seen == 6:
                    raise Killed
        used = trainer("mixed_float16", dropout=0.1)
        whole = told(used.fit(splits, rule(**EACH["all"]), SEEDS)), weights(used)
        kept = Checkpoint(Path("kept"), every=1)
        try:
            used.fit(splits, rule(**EACH["all"]), SEEDS, checkpoint=kept, observer=Killing())
        except Killed:
            used.fit(splits, rule(), SeedSpec(7, 8, 9))
        assert kept.path.is_file()
        again = used.fit(splits, rule(**EACH["all"]), SEEDS, checkpoint=kept)
        results["resumed"] = whole == (told(again), weights(used))
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Curves of two devices and of one, by precision and rule."""
    folder = tmp_path_factory.mktemp("parts")
    done = subprocess.run([sys.executable, "-c", PARTS], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.full
@pytest.mark.timeout(900)  # whichever comes first trains 25 times
@pytest.mark.parametrize("rule", ["plain", "accumulate", "clip", "average", "all"])
def test_hardware_replicas_train_alike_by_every_rule_where_a_batch_is_one_image(parts, rule):
    _alike(parts[f"float32 {rule} 2"], parts[f"float32 {rule} 1"], 2e-5)
    if rule != "plain":
        assert rule == "accumulate" or parts[f"float32 {rule} 2"][2] != parts["float32 plain 2"][2], "the rule is live"


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("precision", "bound"), [("mixed_bfloat16", 5e-3), ("mixed_float16", 1e-3)])
@pytest.mark.parametrize("rule", ["plain", "all"])
def test_hardware_replicas_train_alike_in_half_precision(parts, precision, bound, rule):
    _alike(parts[f"{precision} {rule} 2"], parts[f"{precision} {rule} 1"], bound)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_hardware_replicas_skip_the_same_steps(parts):
    (two, scale), (one, other) = parts["skipped 2"], parts["skipped 1"]
    _alike(two, one, 1e-3)
    assert scale == other and 2.0**24 < max(scale) < 2.0**33


@pytest.mark.full
@pytest.mark.timeout(900)
def test_hardware_replicas_go_on_from_a_kept_state(parts):
    assert parts["resumed"] is True


def _alike(two, one, bound):
    assert two[0] == one[0] == ""
    assert np.array(two[1]) == pytest.approx(np.array(one[1]), rel=bound)
    assert two[2] == pytest.approx(one[2], rel=bound)
