"""Settings of tracking: the MLflow store and experiment that runs are recorded in; and the error for a store."""

import os
from dataclasses import dataclass

from ablate.paths import problem

DEFAULT_URI = "sqlite:///mlflow.db"
"""MLflow's own default, so that plain ``mlflow ui`` in the same folder shows the runs."""

DEFAULT_EXPERIMENT = "ablate"


class TrackingError(ValueError):
    """The tracking store cannot be used; one sentence, without passwords."""


@dataclass
class TrackingSpec:
    """Where runs are recorded.

    Attributes:
        uri: MLflow tracking URI, a database or a server; None takes MLFLOW_TRACKING_URI, else ``sqlite:///mlflow.db``.
        spool: Folder for what the store could not be told while it was away; ``python -m ablate sync`` delivers it.
        experiment: MLflow experiment, made where it is missing; None takes MLFLOW_EXPERIMENT_NAME, else ``ablate``.
            MLFLOW_EXPERIMENT_ID counts nothing here: it is a number of one store, and MLflow sets it by itself in
            every process that a notebook starts.
        log_model: Whether each run keeps its trained model among its artifacts.
        register_model: Whether a sweep that is through puts its best model into MLflow's model registry, where its
            runs keep theirs.
    """

    uri: str | None = None
    spool: str = "mlflow-spool"
    experiment: str | None = None
    log_model: bool = True
    register_model: bool = True

    def check(self) -> None:
        """Raises TrackingError for a spool that can be no folder."""
        if wrong := problem("tracking.spool", self.spool):
            raise TrackingError(wrong)

    def resolved_uri(self) -> str:
        """The URI in force. It may hold a password: show ``redact`` of it."""
        return self.uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI

    def resolved_experiment(self) -> str:
        """The experiment's name in force; one that is set to nothing is not replaced."""
        if self.experiment is not None:
            return self.experiment
        return os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT
