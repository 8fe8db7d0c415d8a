"""The tracking store: writes runs to MLflow, reads them into frames; the only package that imports mlflow.

Nothing heavy is imported before it is used, and a database is read by plain SQL: ``report`` need not pay the seconds
that importing mlflow costs. The words of a run's record stand in ``names``.
"""

from ablate.tracking.client import ask as ask
from ablate.tracking.names import RunStatus as RunStatus
from ablate.tracking.reading import StudyRecord as StudyRecord
from ablate.tracking.reading import cells as cells
from ablate.tracking.reading import fetch_artifact as fetch_artifact
from ablate.tracking.reading import finished_settings as finished_settings
from ablate.tracking.reading import has_study as has_study
from ablate.tracking.reading import latest_run as latest_run
from ablate.tracking.reading import list_studies as list_studies
from ablate.tracking.reading import read_artifacts as read_artifacts
from ablate.tracking.reading import read_curves as read_curves
from ablate.tracking.reading import read_logged as read_logged
from ablate.tracking.reading import read_runs as read_runs
from ablate.tracking.reading import run_names as run_names
from ablate.tracking.spec import DEFAULT_URI as DEFAULT_URI
from ablate.tracking.spec import TrackingError as TrackingError
from ablate.tracking.spec import TrackingSpec as TrackingSpec
from ablate.tracking.store import Delivered as Delivered
from ablate.tracking.store import Finished as Finished
from ablate.tracking.store import Store as Store
from ablate.tracking.store import Training as Training
from ablate.tracking.tags import param_text as param_text
from ablate.tracking.tags import redrawn as redrawn
from ablate.tracking.tags import redraws as redraws
from ablate.tracking.uris import check_form as check_form
from ablate.tracking.uris import redact as redact
from ablate.tracking.uris import redact_of as redact_of
from ablate.tracking.uris import redact_uri as redact_uri
from ablate.tracking.uris import ui_hint as ui_hint
from ablate.tracking.view import view_state as view_state
from ablate.tracking.writer import RunWriter as RunWriter
