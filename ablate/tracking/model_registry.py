"""Registered models in MLflow's model registry: a run's model and signature, as ``mlflow models serve`` runs them."""

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ablate.installation import NAME
from ablate.tracking.names import MODEL_FILE, MODEL_INPUT_FILE, VERSION
from ablate.tracking.spec import TrackingError

_LOADER = "ablate.models.serving"
_FOLDER = "model"
_REQUIRED = {"ablate": f"{NAME}[keras]", "keras": "keras", "tensorflow": "tensorflow", "jax": "jax"}
"""Library whose version a run's tag says -> the name by which pip installs it."""


@dataclass(frozen=True)
class Registered:
    """A version of a registered model.

    Attributes:
        name: Name of the registered model.
        version: Number of the version, from 1, as text.
        run_id: Id of the run whose model it is.
    """

    name: str
    version: str
    run_id: str

    @property
    def uri(self) -> str:
        """URI of the version, by which MLflow loads it."""
        return f"models:/{self.name}/{self.version}"


def register(client: Any, run_id: str, name: str, tags: Mapping[str, str]) -> Registered:
    """Registers a run's model under a name, unless that run already is a version of it.

    Args:
        client: MLflow's client.
        run_id: A run with the artifacts ``MODEL_FILE`` and ``MODEL_INPUT_FILE``.
        name: Name of the registered model; a character that MLflow takes in no name becomes an underscore.
        tags: Tags of the version.

    Raises:
        TrackingError: The run keeps no model.
    """
    name = re.sub(r"[^\w.-]", "_", name)
    models = client.search_registered_models(f"name = '{name}'")
    for version in client.search_model_versions(f"name = '{name}'"):
        if version.run_id == run_id:
            return Registered(name, str(version.version), run_id)
    run = client.get_run(run_id)
    _write(client, run)
    if not models:
        client.create_registered_model(name)
    made = client.create_model_version(name, f"{run.info.artifact_uri}/{_FOLDER}", run_id, tags=dict(tags))
    return Registered(name, str(made.version), run_id)


def _write(client: Any, run: Any) -> None:
    """Puts the model among the run's artifacts a second time, with MLflow's description of it."""
    from mlflow.pyfunc import save_model

    run_id = run.info.run_id
    there = [entry.path for entry in client.list_artifacts(run_id)]
    if missing := [each for each in (MODEL_FILE, MODEL_INPUT_FILE) if each not in there]:
        raise TrackingError(
            f"run {run_id} must hold {' and '.join(missing)} to be registered, it has {', '.join(there) or 'none'}; "
            "train it with tracking.log_model=true."
        )
    with TemporaryDirectory(prefix="ablate-") as scratch:
        files, whole = Path(scratch) / "files", Path(scratch) / _FOLDER
        files.mkdir()
        for name in (MODEL_FILE, MODEL_INPUT_FILE):
            client.download_artifacts(run_id, name, str(files))
        told = json.loads((files / MODEL_INPUT_FILE).read_text("utf-8"))
        versions = {name: run.data.tags.get(f"{VERSION}{of}") for of, name in _REQUIRED.items()}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*input example")  # the signature is known without one
            save_model(
                str(whole),
                loader_module=_LOADER,
                data_path=str(files),
                signature=_signature(told["shape"], len(told["classes"])),
                pip_requirements=[f"{name}=={version}" for name, version in versions.items() if version],
                metadata={"classes": list(told["classes"]), "run_id": run_id},
            )
        client.log_artifacts(run_id, str(whole), _FOLDER)


def _signature(shape: tuple[int, ...], classes: int) -> Any:
    """Pixels from 0 to 255 in, probabilities out; any number of images."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    real = np.dtype(np.float32)
    return ModelSignature(
        inputs=Schema([TensorSpec(real, (-1, *shape))]),
        outputs=Schema([TensorSpec(real, (-1, classes))]),
    )
