"""What the leader of a sweep looks for before anything is recorded."""

import sys
from pathlib import Path

import pytest

from ablate.installation import MissingPackageError
from ablate.sweep.leader import run_sweep
from ablate.sweep.plan import make_plan

SEARCH = """
base: {model: tiny, data: digits}
method: optuna
sampler: cmaes
n_trials: 2
axes: {train.lr: {low: 1.0e-3, high: 1.0e-2}, train.weight_decay: {low: 0.0, high: 0.1}}
"""


@pytest.mark.parametrize(
    ("words", "package", "said"),
    [
        (["engine=ray"], "ray", r"^engine=ray needs ray, .*\[ray\]'\.$"),
        (["engine=slurm"], "submitit", r"^engine=slurm needs submitit, .*\[slurm\]'\.$"),
        ([], "cmaes", r"^sampler=cmaes needs cmaes, .*\[cmaes\]'\.$"),
    ],
)
def test_leader_without_an_engine_s_or_a_sampler_s_package_records_nothing(
    words, package, said, write_sweep, monkeypatch
):
    write_sweep(SEARCH)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=said):
        run_sweep(make_plan(["+sweep=mine", *words]))
    assert not Path("mlflow.db").exists() and not Path("optuna.db").exists()
