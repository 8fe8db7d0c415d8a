"""A study -> its table in one of the formats: the one way from records to text."""

from ablate import tracking
from ablate.report.pages.text import render
from ablate.report.sources.records import Records
from ablate.report.sources.stored import beside, choose, whereabouts
from ablate.report.table import searches
from ablate.report.table.notes import Detail
from ablate.report.table.rows import Reading, records_table, report_table
from ablate.tracking import TrackingSpec


def report_study(
    where: TrackingSpec,
    name: str,
    format: str = "text",
    *,
    study: str | None = None,
    reading: Reading | None = None,
    full: bool = False,
) -> str:
    """The table of a sweep, from the tracking store alone.

    Args:
        where: The tracking store.
        name: The sweep's name, as in ``+sweep=name``.
        format: ``text``, ``md``, ``latex``, ``csv`` or ``json``; see ``render``.
        study: One study of that name; None takes the one that ran last.
        reading: How its runs are read; ``at`` takes records, whose curves were read.
        full: All notes, and not only those that everybody needs.

    Raises:
        ReportError: The store knows no such study, or the reading does not fit it.
        TrackingError: The store cannot be read.
    """
    chosen, others = choose(where, name, study)
    frame, definition = searches.rows(tracking.read_runs(where, study=chosen.study), chosen.definition)
    table = report_table(frame, definition, reading)
    study, *places = whereabouts(where, chosen)
    notes = [study if others else Detail(study), *map(Detail, places), *map(beside, others)]
    notes = [*definition.get("notes", []), *notes]
    return render(table, format, notes, full=full)


def report_records(
    records: Records, format: str = "text", reading: Reading | None = None, *, full: bool = False
) -> str:
    """The table of a study that was read from a file or made of somebody else's runs.

    Args:
        records: The study that is reported.
        format: ``text``, ``md``, ``latex``, ``csv`` or ``json``; see ``render``.
        reading: How the study's runs are read.
        full: All notes, and not only those that everybody needs.

    Raises:
        ReportError: ``at`` is something else, or the runs do not say enough to read them there.
    """
    table, notes = records_table(records, reading)
    return render(table, format, notes, full=full)
