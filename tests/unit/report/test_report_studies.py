"""Where a study's records come from: files by name and pattern."""

import pytest

from ablate.report.sources import studies
from ablate.report.sources.records import RecordsError, write
from tests.unit.report.test_report_frames import chain


def test_gather_reads_each_file_that_fits_once_and_says_when_none_does(tmp_path):
    for name in ("pe-a", "pe-b", "other"):
        write(chain({"2": [50.0]}, question=name), tmp_path / f"{name}.jsonl")
    found = studies.gather([f"{tmp_path}/pe-*.jsonl", f"{tmp_path}/pe-b.jsonl"])
    assert [each.definition["question"] for each in found] == ["pe-a", "pe-b"]
    assert len(studies.gather(f"{tmp_path}/other.jsonl")) == 1
    with pytest.raises(RecordsError, match="records must name files"):
        studies.gather([f"{tmp_path}/none-*.jsonl"])
