"""Records of runs -> tables, verdicts, figures and pages; nothing here builds, trains or searches.

``sources`` reads and writes records and knows neither table nor page; ``table`` makes numbers and verdicts of records
and knows no page; ``pages`` writes these out; ``reports`` goes the whole way.
"""

from ablate.report.errors import ReportError as ReportError
from ablate.report.pages.text import render as render
from ablate.report.reports import report_records as report_records
from ablate.report.reports import report_study as report_study
from ablate.report.table.rows import Reading as Reading
from ablate.report.table.rows import records_table as records_table
from ablate.report.table.rows import report_table as report_table
from ablate.report.table.table import METRIC as METRIC
from ablate.report.table.table import Table as Table
