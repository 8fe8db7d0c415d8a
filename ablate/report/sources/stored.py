"""Which study of a tracking store is meant by a name, and where its records lie."""

from ablate import tracking
from ablate.report.errors import ReportError
from ablate.tracking import StudyRecord, TrackingSpec


def choose(where: TrackingSpec, name: str, study: str | None = None) -> tuple[StudyRecord, list[StudyRecord]]:
    """The study of a name that ran last, or the one that is named whole, and the others of that name.

    One in which nothing is finished stands behind those in which something is: a mistaken override hides no results.

    Raises:
        ReportError: The store knows no such study.
        TrackingError: The store cannot be read.
    """
    known = tracking.list_studies(where)
    mine = [record for record in known if record.definition.get("name") == name or record.study == name]
    mine.sort(key=lambda record: record.finished == 0)
    chosen = next((record for record in mine if study in (None, record.study)), None)
    if chosen is None:
        names = sorted({str(record.definition.get("name")) for record in known})
        there = f"it has {', '.join(names)}" if names else "it has none yet: run python -m ablate +sweep=pe_type"
        uri = tracking.redact_uri(where.resolved_uri())
        raise ReportError(
            f"report needs a study that {uri} (experiment {where.resolved_experiment()}) holds, got {name!r}; {there}."
        )
    return chosen, [record for record in mine if record is not chosen]


def whereabouts(where: TrackingSpec, chosen: StudyRecord) -> list[str]:
    """Where the records of a study lie, and how to open them."""
    uri, experiment = tracking.redact_uri(where.resolved_uri()), where.resolved_experiment()
    return [
        f"study {chosen.study}, started {chosen.started:%Y-%m-%d %H:%M} UTC, in {uri}, experiment {experiment}",
        f"artifacts (config, model, test predictions) of each run: {chosen.artifacts}",
        opened_by(where, chosen),
    ]


def opened_by(where: TrackingSpec, chosen: StudyRecord) -> str:
    """What opens a study's runs in the MLflow UI."""
    return f"MLflow UI: {tracking.ui_hint(where, chosen.experiment_id, chosen.view)}"


def beside(other: StudyRecord) -> str:
    """A further study of the name, for people."""
    count = f"{other.finished} of {other.definition.get('points', '?')} points"
    return f"also of this name: {other.study}, last active {other.last:%Y-%m-%d %H:%M} UTC, {count}"
