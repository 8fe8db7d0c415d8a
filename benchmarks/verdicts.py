"""What a method of comparison can find at most, if its false verdicts stay at their rate however noisy the baseline is.

    python -m benchmarks.verdicts                       # three and six levels, three runs each
    python -m benchmarks.verdicts levels=6 runs=5 effect=2.3

One factor with equal spreads, one level off by ``effect`` standard deviations. A method may look at the ratio of the
baseline's variance to that of all levels, and choose for each ratio how large a difference it asks for. The choice that
finds the level most often, while at most ``most`` of studies in which nothing differs have a false verdict at each of a
dozen spreads of the baseline, is a linear program. It is a bound: methods that also guard against a noisy level find
less. Dunnett's test, which takes one variance, and ours are printed beside it.
"""

import sys

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from ablate.stats import Observation, analyse

DRAWS = 100_000
SPREADS = (1.0, 1.5, 2.25, 4.0, 6.25, 9.0, 16.0, 25.0, 36.0, 64.0, 100.0, 400.0)
"""Variances of the baseline, of which every other cell has 1."""
RATIOS = np.array([0, *np.geomspace(0.02, 200, 36), np.inf])
SIZES = np.array([*np.geomspace(1, 30, 60), 1e9])


def exceeded(levels: int, runs: int, spread: float, effect: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Chance of each ratio of variances with a difference beyond each size, ``(ratios, sizes)``."""
    errors = rng.standard_normal((DRAWS, levels)) / np.sqrt(runs)
    errors[:, 0] *= np.sqrt(spread)
    df = (runs - 1) * (levels - 1)
    common = rng.chisquare(df, DRAWS) / df
    ratio = spread * rng.chisquare(runs - 1, DRAWS) / (runs - 1) / common
    apart = errors[:, 1:] - errors[:, :1]
    apart[:, 0] += effect
    size = np.abs(apart[:, 0] if effect else apart)
    largest = (size if effect else size.max(axis=1)) / np.sqrt(common)
    places = np.digitize(ratio, RATIOS) - 1
    rows = [np.sort(largest[places == place]) for place in range(len(RATIOS) - 1)]
    return np.array([(len(row) - np.searchsorted(row, SIZES)) / DRAWS for row in rows])


def bound(levels: int, runs: int, effect: float, most: float) -> float:
    """The largest share of studies in which the level is found."""
    rng = np.random.default_rng(0)
    gain = exceeded(levels, runs, 1.0, effect, rng)
    false = np.array([exceeded(levels, runs, spread, 0.0, rng).ravel() for spread in SPREADS])
    one_each = np.kron(np.eye(len(gain)), np.ones(len(SIZES)))
    solved = linprog(
        -gain.ravel(), A_ub=false, b_ub=[most] * len(false), A_eq=one_each, b_eq=np.ones(len(gain)), method="highs"
    )
    return -float(solved.fun)


def found(levels: int, runs: int, effect: float, studies: int = 1000) -> tuple[float, float]:
    """Share of studies in which Dunnett's test finds the level, and ours."""
    rng, df = np.random.default_rng(1), levels * (runs - 1)
    normal = rng.standard_normal((DRAWS, levels))
    largest = np.abs(normal[:, 1:] - normal[:, :1]).max(axis=1) / np.sqrt(2 * rng.chisquare(df, DRAWS) / df)
    critical, dunnett, ours = float(np.quantile(largest, 0.95)), 0, 0
    for _ in range(studies):
        values = rng.normal(0, 1, (levels, runs))
        values[1] += effect
        std = np.sqrt(values.var(axis=1, ddof=1).mean() * 2 / runs)
        dunnett += abs(values[1].mean() - values[0].mean()) > critical * std
        rows = [Observation((f"l{i}",), j, float(values[i, j])) for i in range(levels) for j in range(runs)]
        low = analyse(rows, ["level"], {"level": "l0"}).contrasts[0].verdict.low
        ours += low is not None and low > 0
    return dunnett / studies, ours / studies


def main(words: list[str]) -> None:
    """Prints a line a design."""
    given = dict(word.split("=", 1) for word in words)
    most = float(given.pop("most", 0.06))
    designs = [(3, 3, 3.2), (6, 3, 3.2)]
    if given:
        designs = [(int(given.get("levels", 3)), int(given.get("runs", 3)), float(given.get("effect", 3.2)))]
    for levels, runs, effect in designs:
        dunnett, ours = found(levels, runs, effect)
        least = bound(levels, runs, effect, most)
        print(
            f"{levels} levels of {runs} runs, one {effect:g} standard deviations off: Dunnett {dunnett:.2f}; at most "
            f"{least:.2f} ({least / dunnett:.2f} of Dunnett's); ours {ours:.2f} ({ours / dunnett:.2f})"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
