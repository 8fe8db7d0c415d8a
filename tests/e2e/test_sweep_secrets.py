"""After real sweeps with a password in an address, no file below the working folder holds it."""

import pytest

from ablate.tracking import TrackingSpec, list_studies
from tests import servers
from tests.e2e.test_cli import ablate

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

SWEEP = """\
base: {model: tiny, data: digits, train.epochs: 1, train.batch_size: 256, tracking.log_model: false}
axes: {model.pooling: [seqpool, mean]}
"""
SECRET = "hunter2horse"


def _found(folder):
    return [path for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def test_no_file_holds_a_password_after_sweeps_here_and_by_slurm(tmp_path):
    (tmp_path / "work" / "sweeps").mkdir(parents=True)
    (tmp_path / "work" / "sweeps" / "mine.yaml").write_text(SWEEP)
    slurm = ["engine=slurm", "engine_options={cluster:local}", "fresh=true"]
    with servers.mlflow_server(tmp_path) as (_, address):
        guarded = address.replace("://", f"://me:{SECRET}@")
        for words, environment in (
            ([f"tracking.uri={guarded}", "workers=2"], {}),
            ([f"tracking.uri={guarded}", *slurm], {}),
            (["tracking.uri=${oc.env:RECORDS}", *slurm], {"RECORDS": guarded}),
        ):
            result = ablate("+sweep=mine", *words, cwd=tmp_path / "work", **environment)
            assert result.returncode == 0, result.stdout + result.stderr
            assert SECRET not in result.stdout + result.stderr
        assert len(list_studies(TrackingSpec(uri=address))) == 3
    assert len(list((tmp_path / "work").rglob("overrides.yaml"))) == 3
    assert len(list((tmp_path / "work" / "outputs" / "slurm").glob("*_submitted.pkl"))) == 2
    assert _found(tmp_path / "work") == []


def test_no_file_holds_a_password_after_a_store_and_a_queue_failed(tmp_path):
    for words in (
        [f"tracking.uri=http://me:{SECRET}@127.0.0.1:9"],
        [f"tracking.uri=postgresql://me:{SECRET}@127.0.0.1:9/records"],
        [f"study.storage=postgresql+psycopg://me:{SECRET}@127.0.0.1:9/queue", "+sweep=pe_type"],
    ):
        result = ablate("model=tiny", "data=digits", "train.epochs=1", *words, cwd=tmp_path)
        assert result.returncode == 2 and SECRET not in result.stdout + result.stderr, result.stdout + result.stderr
    assert len(list(tmp_path.rglob("ablate.log"))) == 3
    assert _found(tmp_path) == []
