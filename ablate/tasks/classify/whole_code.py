"""The code of all runs together: what tells one version of the package from another, whatever a run chooses."""

from functools import cache
from typing import Any

from ablate.data.augment import AugmentSpec
from ablate.data.spec import SOURCES, DataSpec
from ablate.identity import Code
from ablate.models import registry
from ablate.models.spec import ModelSpec
from ablate.tasks.classify.spec import TELLS, RunSpec
from ablate.training.hardware import HardwareSpec


@cache
def roots() -> frozenset[str]:
    """Where the code of any run begins: every variant of the package's, every source, and a file of weights."""
    variants: list[dict[str, Any]] = [{slot: name} for slot in registry.slots() for name in registry.names(slot)]
    runs = [RunSpec(model=ModelSpec(**each)) for each in [*variants, {"weights": "a file"}]]
    runs += [RunSpec(data=DataSpec(source=source)) for source in SOURCES]
    runs += [RunSpec(hardware=HardwareSpec(replicas=2), augment=AugmentSpec(flip=0.5))]
    return frozenset(root for run in runs for root in run.code("tensorflow").roots if root.startswith("ablate."))


@cache
def whole_code() -> Code:
    """Every backend's, and all that some run may do without."""
    return Code(tuple(sorted(roots())), frozenset(TELLS))
