"""What a sweep will take: a few steps of each distinct graph."""

from ablate.sweep.plan import make_plan
from ablate.tasks.classify.calibrate import calibrate

SWEEP = """
base: {model: tiny, data: digits, train.epochs: 2}
axes: {model.pooling: [seqpool, mean], train.lr: [1.0e-3, 2.0e-3]}
seeds: 2
"""


def test_calibrate_measures_each_graph_once(write_sweep):
    write_sweep(SWEEP)
    plan = make_plan(["+sweep=mine"])
    found = list(calibrate(plan.points))
    assert [each.points for each in found] == [4, 4]
    assert all(0 < each.step_seconds < each.start_seconds and each.peak_mib > 100 for each in found)
    assert all(each.run_seconds > each.start_seconds for each in found)
