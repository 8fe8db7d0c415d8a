"""Whether cells share one variance, held against scipy's tests."""

import numpy as np
import pytest
import scipy.stats

from ablate.stats.variances import bartlett


def test_bartletts_test_is_scipys_and_adds_up_over_strata():
    rng = np.random.default_rng(11)
    samples = [rng.normal(0, 1 + n % 3, size) for n, size in enumerate((2, 3, 5, 4, 6))]
    assert bartlett([samples]) == pytest.approx(scipy.stats.bartlett(*samples).pvalue, rel=1e-9)
    assert bartlett([samples[:1], samples[1:]]) == pytest.approx(scipy.stats.bartlett(*samples[1:]).pvalue, rel=1e-9)
    wide = [1e6 * sample for sample in samples]  # a stratum has a variance of its own
    assert bartlett([samples, wide]) == pytest.approx(bartlett([samples, samples]), rel=1e-9)
    assert bartlett([samples[:1], [np.ones(3), *samples[1:2]]]) is None
