"""A run's settings among its artifacts are read as they stand."""

from ablate.config.recorded import read_spec


def test_a_recorded_run_reads_nothing_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    for root in ("${oc.env:SECRET}", "a${b}\\${c}", "\\\\${oc.env:SECRET}", "a\\b", "$"):
        (tmp_path / "config.yaml").write_text(f"data: {{root: '{root}'}}\n")
        assert read_spec(tmp_path / "config.yaml").data.root == root
