"""Records of runs -> tables, verdicts, figures and pages; nothing here builds, trains or searches."""

from ablate.report.rendering import Format as Format
from ablate.report.rendering import render as render
from ablate.report.rows import Reading as Reading
from ablate.report.rows import records_table as records_table
from ablate.report.rows import report_records as report_records
from ablate.report.rows import report_study as report_study
from ablate.report.rows import report_table as report_table
from ablate.report.table import METRIC as METRIC
from ablate.report.table import ReportError as ReportError
from ablate.report.table import Table as Table
