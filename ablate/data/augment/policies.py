"""From magnitudes to operations: RandAugment and AutoAugment."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ablate.data.augment.operations import OPERATIONS, Paint
from ablate.data.augment.spec import Policy, RandAugmentSpec

MIDDLE_GREY = 128
"""What AutoAugment's CIFAR-10 policy shows where the image ends."""

_SIGNED = frozenset({"rotate", "shear_x", "shear_y", "translate_x", "translate_y"})
_ENHANCE = frozenset({"colour", "contrast", "brightness", "sharpness"})
_NAMES = tuple(OPERATIONS)

Level = Callable[[float], float]

# Strength 0 to 1 -> argument. Source: timm's RandAugment, whose strength is magnitude / 10.
_RAND_LEVELS: dict[str, Level] = {
    "rotate": lambda strength: 30 * strength,
    "shear_x": lambda strength: 0.3 * strength,
    "shear_y": lambda strength: 0.3 * strength,
    "translate_x": lambda strength: 0.45 * strength,
    "translate_y": lambda strength: 0.45 * strength,
    "solarize_add": lambda strength: int(110 * strength),
}
_RAND_INCREASING: dict[str, Level] = {
    "posterize": lambda strength: 4 - int(4 * strength),
    "solarize": lambda strength: 256 - int(256 * strength),
    **dict.fromkeys(_ENHANCE, lambda strength: 0.9 * strength),
}
_RAND_FIRST: dict[str, Level] = {
    "posterize": lambda strength: int(4 * strength),
    "solarize": lambda strength: int(256 * strength),
    **dict.fromkeys(_ENHANCE, lambda strength: 0.1 + 1.8 * strength),
}


def rand_argument(name: str, magnitude: float, *, increasing: bool, negative: bool) -> float:
    """The argument of an operation of RandAugment.

    Args:
        name: One of ``OPERATIONS``.
        magnitude: Strength, 0 to 10, noise included.
        increasing: Whether the operation grows stronger with the magnitude, as in RandAugmentSpec.
        negative: The side it goes to, for operations that have two.
    """
    level = (_RAND_LEVELS | (_RAND_INCREASING if increasing else _RAND_FIRST)).get(name)
    argument = level(magnitude / 10) if level else 0.0
    if name in _SIGNED and negative:
        return -argument
    if name in _ENHANCE and increasing:
        return 1 - argument if negative else 1 + argument
    return argument


@dataclass(frozen=True)
class Drawn:
    """An operation that was drawn and is applied: its name in ``OPERATIONS``, argument, and which paint, 0 to 1."""

    name: str
    argument: float
    paint: float


def draw_rand(spec: RandAugmentSpec, generator: np.random.Generator) -> list[Drawn]:
    """``spec.ops`` operations, drawn with replacement, less those that ``spec.probability`` leaves out."""
    drawn = []
    for _ in range(spec.ops):
        which, applied, side, paint = generator.random(4)
        magnitude = min(10.0, max(0.0, spec.magnitude + spec.std * generator.normal()))
        name = _NAMES[int(which * len(_NAMES))]
        if applied < spec.probability:
            argument = rand_argument(name, magnitude, increasing=spec.increasing, negative=side < 0.5)
            drawn.append(Drawn(name, argument, paint))
    return drawn


PolicyStep = tuple[str, float, int]
"""An operation, the probability that it is applied, and its magnitude, 0 to 9."""

CIFAR10: tuple[tuple[PolicyStep, PolicyStep], ...] = (
    (("invert", 0.1, 7), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, 8), ("equalize", 0.9, 2)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("colour", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 5), ("equalize", 0.5, 1)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("colour", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, 7), ("autocontrast", 0.4, 8)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("colour", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 3)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 8), ("equalize", 0.6, 4)),
    (("colour", 0.9, 9), ("equalize", 0.6, 6)),
    (("autocontrast", 0.8, 4), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("colour", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 3)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, 2), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 8), ("invert", 0.1, 3)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, 1)),
)
"""Source: Cubuk et al. 2018, arXiv 1805.09501, appendix, the policy found on reduced CIFAR-10."""

POLICIES = {Policy.cifar10: CIFAR10}

# Magnitude 0 to 9, evenly over the ranges of the paper's table of operations; 150 pixels were of 331.
_AUTO_LEVELS: dict[str, Level] = {
    "rotate": lambda magnitude: 30 * magnitude / 9,
    "shear_x": lambda magnitude: 0.3 * magnitude / 9,
    "shear_y": lambda magnitude: 0.3 * magnitude / 9,
    "translate_x": lambda magnitude: 150 / 331 * magnitude / 9,
    "translate_y": lambda magnitude: 150 / 331 * magnitude / 9,
    "posterize": lambda magnitude: round(8 - 4 * magnitude / 9),
    "solarize": lambda magnitude: 256 - 256 * magnitude / 9,
    **dict.fromkeys(_ENHANCE, lambda magnitude: 0.9 * magnitude / 9),
}


def auto_argument(name: str, magnitude: int, *, negative: bool) -> float:
    """The argument of an operation of AutoAugment's policies: geometry and enhancements go to either side.

    Args:
        name: One of ``OPERATIONS``.
        magnitude: Strength, 0 to 9.
        negative: Whether the operation goes to its negative side, where it has two.
    """
    level = _AUTO_LEVELS.get(name)
    argument = level(magnitude) if level else 0.0
    if name in _SIGNED and negative:
        return -argument
    if name in _ENHANCE:
        return 1 - argument if negative else 1 + argument
    return argument


def draw_auto(policy: Policy, generator: np.random.Generator) -> list[Drawn]:
    """One of the policy's pairs, less those operations that their own probability leaves out."""
    pairs = POLICIES[policy]
    drawn = []
    for name, probability, magnitude in pairs[int(generator.random() * len(pairs))]:
        applied, side, paint = generator.random(3)
        if applied < probability:
            drawn.append(Drawn(name, auto_argument(name, magnitude, negative=side < 0.5), paint))
    return drawn


def apply(image: Image.Image, drawn: Iterable[Drawn], paints: Sequence[Paint]) -> Image.Image:
    """The image after one operation after another."""
    for each in drawn:
        image = OPERATIONS[each.name](image, each.argument, paints[int(each.paint * len(paints))])
    return image
