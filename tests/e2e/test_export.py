"""Exported models, read by what knows nothing of us: SavedModel in a process without ablate, ONNX by onnxruntime."""

import json
import os
import subprocess
import sys
import warnings
from functools import cache
from importlib.util import find_spec

import keras
import numpy as np
import pytest
from keras import ops

from ablate.models import create_model

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports are tested on TensorFlow"),
]
TOLERANCE = 1e-4
MODELS = {
    **{f"{family}_32{pe}": {} for family in ("vit_2_4", "cvt_2_4", "cct_2_3x2") for pe in ("", "_sine", "_none")},
    **{f"vit_2_4_32+{pe}": {"positional": pe} for pe in ("sine2d", "rotary", "relative", "conditional")},
    "cct_2_3x2_48": {"image_size": (48, 36), "in_channels": 1, "num_classes": 7, "pooling": "mean"},
    "manifold_cct_1_3x2_16": {"maps": ("euclid", "spd"), "map_norm": "layernorm"},  # ONNX has no QR
    "riemmanian_vit_1_4_16": {},
    "keras_io_cct": {},
    "cct_keras_2_3x2": {"image_size": 32, "num_classes": 10, "dim": 64, "heads": 2},
}
READ_ELSEWHERE = """
import sys
sys.modules["ablate"] = None  # an import of it would raise
import json, numpy as np, tensorflow as tf
for folder in json.loads(sys.argv[1]):
    loaded, x = tf.saved_model.load(folder), np.load(folder + ".x.npy")
    np.save(folder + ".one.npy", loaded.serve(x[:1]).numpy())
    np.save(folder + ".all.npy", loaded.serve(x).numpy())
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Exports a model at its first use: ``folder`` and ``folder.onnx``, and beside them an input and its logits."""
    root = tmp_path_factory.mktemp("exported")

    @cache
    def export(name):
        model, folder = create_model(name.partition("+")[0], **MODELS[name]), str(root / name)
        for index, weight in enumerate(model.weights):  # so that no branch is negligible
            draw = np.random.default_rng(index).normal(size=weight.shape)
            weight.assign(0.1 * draw + ("gamma" in weight.name))
        x = np.random.default_rng(0).normal(size=(5, *model.input_shape[1:])).astype("float32")
        np.save(f"{folder}.x.npy", x)
        np.save(f"{folder}.expected.npy", ops.convert_to_numpy(model(x)))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", "In the future `np", FutureWarning)  # of Keras, where it calls tf2onnx
            model.export(folder, verbose=False)
            if find_spec("onnx") and find_spec("tf2onnx"):
                model.export(f"{folder}.onnx", format="onnx", verbose=False)
        return folder

    return export


@pytest.mark.parametrize("name", MODELS)
def test_onnx_gives_the_same_logits_for_any_batch(exported, name):
    onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'ablate-study[onnx]' brings it")
    session = onnxruntime.InferenceSession(f"{exported(name)}.onnx")
    x, expected = np.load(f"{exported(name)}.x.npy"), np.load(f"{exported(name)}.expected.npy")
    (images,) = session.get_inputs()
    assert images.name == "images" and images.shape[1:] == list(x.shape[1:])
    for count in (1, 5):
        (logits,) = session.run(None, {"images": x[:count]})
        np.testing.assert_allclose(logits, expected[:count], rtol=0, atol=TOLERANCE)


@pytest.mark.timeout(600)  # it makes, where it runs alone, what the tests above have made
def test_saved_models_give_the_same_logits_without_ablate(exported, tmp_path):
    folders = [exported(name) for name in MODELS]
    command = [sys.executable, "-c", READ_ELSEWHERE, json.dumps(folders)]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ.copy(), capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    for folder in folders:
        expected, one, every = (np.load(f"{folder}.{which}.npy") for which in ("expected", "one", "all"))
        assert expected.std() > 0.01, folder
        np.testing.assert_allclose(every, expected, rtol=0, atol=TOLERANCE, err_msg=folder)
        np.testing.assert_allclose(one, expected[:1], rtol=0, atol=TOLERANCE, err_msg=folder)
