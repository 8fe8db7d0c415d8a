"""A whole model from the ``.keras`` file that a run keeps."""

import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import keras

from ablate.models import fusion as _fusion  # noqa: F401  registers its layers with Keras; no variant names them
from ablate.models import registry
from ablate.models.attention.layers import SoftmaxAttention
from ablate.models.mlp.layers import PlainMlp
from ablate.models.slots import SpecError

_CONFIG = "config.json"
_FORMER = {"second_activation": "mlp_second_activation", "width": "mlp_width"}
"""Settings of layers in the files of older versions -> their names later."""
_LEAVES = (
    *("layers", "heads", "dropout", "attention_dropout", "stochastic_depth", "drop_path_schedule", "token_dropout"),
    *("projection_dropout", "qkv_bias", "key_dim", "residual", "mlp_second_activation", "norm_eps"),
)
"""Settings of the encoder's layers, in files of versions that knew one kind of each: leaves of the model now."""
_HAD_FLAT = {"ablate>Encoder", "ablate>Block", "ablate>Attention", "ablate>Mlp"}


# What these files call the one attention and the one MLP; Keras files their weights under the class's name, too.
for _name, _layer in (("Attention", SoftmaxAttention), ("Mlp", PlainMlp)):
    keras.saving.register_keras_serializable(package="ablate")(type(_name, (_layer,), {}))


def load_model(path: str | Path) -> keras.Model:
    """Reads a model of ours; a plugin's, once the plugin is imported.

    Keras finds a layer in a file by its registered name, which the layer's module has to have given before: all are
    imported here.

    Args:
        path: A ``.keras`` file, of this version or an older one.

    Returns:
        The model, not compiled.

    Raises:
        ValueError: The file holds layers that nobody registered, or no model.
    """
    for slot in registry.slots():
        for name in registry.names(slot):
            registry.get(slot, name).load_layer()
    path = Path(path)
    told = _config(path)
    if not _is_former(told):
        return _loaded(path)
    with tempfile.TemporaryDirectory() as folder:
        return _loaded(_rewritten(path, _today(told), Path(folder) / path.name))


def _loaded(path: Path) -> keras.Model:
    try:
        return keras.saving.load_model(path, compile=False)
    except SpecError as error:  # a plugin's variant that nobody has imported
        raise ValueError(f"{path.name} holds a model that cannot be built here: {error}") from None


def _config(path: Path) -> Any:
    """What a ``.keras`` file says of its layers; None for a file of another kind, about which Keras has its say."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(_CONFIG)) if _CONFIG in archive.namelist() else None


def _is_former(told: Any) -> bool:
    if isinstance(told, list):
        return any(_is_former(each) for each in told)
    if not isinstance(told, dict):
        return False
    return _is_flat(told) or any(_is_former(each) for each in told.values())


def _is_flat(told: dict[str, Any]) -> bool:
    return told.get("registered_name") in _HAD_FLAT and "spec" not in told["config"]


def _today(told: Any) -> Any:
    """The same, with each layer of the encoder described as this version describes it."""
    if isinstance(told, list):
        return [_today(each) for each in told]
    if not isinstance(told, dict):
        return told
    if not _is_flat(told):
        return {name: _today(value) for name, value in told.items()}
    config = {_FORMER.get(name, name): value for name, value in told["config"].items()}
    spec, dim = {name: config.pop(name) for name in _LEAVES if name in config}, told["build_config"]["input_shape"][-1]
    # Half more than the width, so that it comes out whole whatever is lost in the division.
    ratio = (config.pop("mlp_width", 1) + 0.5) / dim
    return {**told, "config": {**config, "spec": {**spec, "dim": dim, "mlp_ratio": ratio}, "geometry": None}}


def _rewritten(path: Path, told: Any, copy: Path) -> Path:
    """A copy of a ``.keras`` file with another description of its layers."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for entry in old.infolist():
            new.writestr(entry, json.dumps(told) if entry.filename == _CONFIG else old.read(entry))
    return copy
