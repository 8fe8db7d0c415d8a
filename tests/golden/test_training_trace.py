"""Ten steps of AdamW from the golden weights of CCT-2/3x2, against PyTorch's, in losses and final logits.

The comparison is `ablate.proof.parity`'s, which ``python -m ablate verify`` runs too.
"""

import numpy as np
import pytest

from ablate.proof import parity


@pytest.fixture(scope="module")
def trace():
    return parity.training_trace()


@pytest.mark.parametrize("precision", parity.precisions())
@pytest.mark.parametrize("decay_1d", [True, False], ids=["all decay", "1-D do not decay"])
def test_training_follows_pytorch(trace, precision, decay_1d):
    checks = parity.training(trace, precision, decay_1d=decay_1d)
    assert [check.what for check in checks] == [*(f"loss before step {i + 1}" for i in range(11)), checks[-1].what]
    assert {check.tolerance for check in checks[:-1]} == {{"float32": 1e-5, "float64": 1e-12}[precision]}
    assert checks[-1].tolerance == {"float32": 2e-4, "float64": 1e-12}[precision]
    assert not [str(check) for check in checks if not check.holds]


def test_trace_tells_both_decay_rules_apart(trace):
    every, some = (trace.expected(decay_1d=decay_1d) for decay_1d in (True, False))
    assert np.abs(np.array(every["losses"]) - some["losses"]).max() > 1e-5
    assert np.abs(np.array(every["final_logits"]) - some["final_logits"]).max() > 2e-4
