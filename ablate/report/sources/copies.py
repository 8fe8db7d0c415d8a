"""Runs that stand twice in a log that was read twice: their copies are no further evidence."""

import math
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import pdtrc

CHANCE = 0.01
"""Probability of as many equal results by chance below which they are taken for copies."""
DENSITY = 1 / (2 * math.sqrt(math.pi))
"""Density at 0 of the difference of two draws of a normal distribution of standard deviation 1."""
_PARTS = 8  # steps in the smallest gap between two results, at most
_NAMED = 3


def copied(
    rows: Sequence[Mapping[str, Any]],
    cells: Sequence[Hashable],
    results: Sequence[tuple[str, float]],
    ids: Sequence[str],
    columns: Collection[str],
    seed: str = "",
) -> list[str]:
    """A sentence on runs that are likely copies of others of their cell; none where chance may well have made them.

    Coarse results agree by chance: of a few hundred test images, some runs of a cell get the same number right. So
    two runs are taken for copies where all further columns agree as well, of which at least one differs between other
    runs of a cell, such as a loss or a time; or where every result of every cell comes more than once; or where more
    pairs agree than results of this coarseness and spread would by chance.

    Args:
        rows: Column -> value, one row for each run.
        cells: Cell of each run.
        results: Result of each run as it was written, and its value, NaN for none.
        ids: Id of each run.
        columns: Columns besides factors, value and seed in which a run may differ from another, but not from its copy.
        seed: Column that tells runs of a cell apart; empty where there is none.
    """
    groups: dict[Hashable, list[int]] = {}
    for number, (cell, (_, value)) in enumerate(zip(cells, results, strict=True)):
        if math.isfinite(value):
            groups.setdefault(cell, []).append(number)
    several = [group for group in groups.values() if len(group) > 1]
    telling = [c for c in columns if any(len({str(rows[n][c]) for n in group}) > 1 for group in several)]
    values = {n: results[n][1] for group in several for n in group}
    if telling:
        keys = {n: (value, *(str(rows[n][column]) for column in telling)) for n, value in values.items()}
        if same := _repeats(several, keys):
            return [_said(same, ids, "agree in every column with an earlier one", seed)]
    samples = [np.array([values[n] for n in group]) for group in several]
    same = _repeats(several, values)
    if _all_doubled(samples) or _unlikely(samples, _step(samples, [text for text, _ in results])):
        return [_said(same, ids, "have in every digit the result of an earlier one of their cell", seed)]
    return []


def _repeats(groups: Sequence[Sequence[int]], keys: Mapping[int, Hashable]) -> list[tuple[int, int]]:
    """Each run that agrees with an earlier one of its cell, and the first that it agrees with."""
    found = []
    for group in groups:
        first: dict[Hashable, int] = {}
        found += [(n, of) for n in group if (of := first.setdefault(keys[n], n)) != n]
    return found


def _said(same: Sequence[tuple[int, int]], ids: Sequence[str], how: str, seed: str) -> str:
    named = ", ".join(f"{ids[n]} with {ids[of]}" for n, of in same[:_NAMED])
    more = f" and {len(same) - _NAMED} more" if len(same) > _NAMED else ""
    who = f"{len(same)} of {len(ids)} runs {how} ({named}{more})"
    if seed:
        return f"{who}, though their {seed} differs: check that it was used, and that no log was read twice"
    return (
        f"{who}: copies make differences seem surer than they are, so remove them, or tell runs apart with seed=COLUMN"
    )


def _all_doubled(samples: Sequence[NDArray[np.float64]]) -> bool:
    """Whether every result of every cell comes more than once, and three at least do."""
    doubled = [min(Counter(sample.tolist()).values()) > 1 for sample in samples]
    return bool(doubled) and all(doubled) and sum(len(set(sample.tolist())) for sample in samples) > 2


def _unlikely(samples: Sequence[NDArray[np.float64]], step: float) -> bool:
    """Whether more pairs of a cell agree than chance would have it, of results in such steps and of normal spread."""
    seen, expected = 0, 0.0
    for sample in samples:
        if (std := float(sample.std(ddof=1))) > 0:
            seen += sum(math.comb(count, 2) for count in Counter(sample.tolist()).values())
            expected += math.comb(len(sample), 2) * min(1.0, DENSITY * step / std)
    return seen > 0 and float(pdtrc(seen - 1, expected)) < CHANCE


def _step(samples: Sequence[NDArray[np.float64]], texts: Sequence[str]) -> float:
    """What results differ by at least: their common step, such as 1 of 3,000 images, or else their last decimal."""
    distinct = np.unique(np.concatenate(samples)) if samples else np.empty(0)
    gaps = np.diff(distinct)
    for parts in range(1, _PARTS if len(gaps) else 1):
        steps = parts * gaps / gaps.min()
        if np.abs(steps - steps.round()).max() < 0.01:
            return float(gaps.min()) / parts
    return min(filter(None, map(_last_decimal, texts)), default=0.0)


def _last_decimal(text: str) -> float | None:
    try:
        exponent = Decimal(text.strip().removesuffix("%")).as_tuple().exponent
    except InvalidOperation:
        return None
    return 10.0**exponent if isinstance(exponent, int) else None
