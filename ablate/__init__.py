"""Architecture ablations for Compact Transformers: build, train, cost, record, compare.

    import ablate
    model = ablate.create_model("cct_2_3x2_32", num_classes=100)

Here stand the public names, each imported when it is first asked for. Whatever else the package holds may move.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ablate.installation import needed_by
from ablate.version import __version__ as __version__

if TYPE_CHECKING:
    from ablate.data import DataSpec as DataSpec
    from ablate.data import load as load
    from ablate.models import at_resolution as at_resolution
    from ablate.models import build as build
    from ablate.models import create_model as create_model
    from ablate.models import list_models as list_models
    from ablate.models import load_model as load_model
    from ablate.models import load_weights as load_weights
    from ablate.models import save_weights as save_weights
    from ablate.models import trace as trace
    from ablate.models.cost import Macs as Macs
    from ablate.models.cost import Params as Params
    from ablate.models.profile import profile as profile
    from ablate.models.registry import register as register
    from ablate.models.slots import Activation as Activation
    from ablate.models.slots import Attention as Attention
    from ablate.models.slots import Geometry as Geometry
    from ablate.models.slots import Head as Head
    from ablate.models.slots import Mlp as Mlp
    from ablate.models.slots import Norm as Norm
    from ablate.models.slots import Place as Place
    from ablate.models.slots import Pooling as Pooling
    from ablate.models.slots import Positional as Positional
    from ablate.models.slots import SpecError as SpecError
    from ablate.models.slots import Tokenizer as Tokenizer
    from ablate.models.spec import ModelSpec as ModelSpec
    from ablate.models.tokenwise import BlockLayer as BlockLayer
    from ablate.report import Reading as Reading
    from ablate.report import report_records as report_records
    from ablate.report.sources.studies import gather as gather
    from ablate.stats import alpha_spending as alpha_spending
    from ablate.stats import mean_interval as mean_interval
    from ablate.stats import verdict as verdict

_HOMES = {
    # models
    "at_resolution": "models",
    "build": "models",
    "create_model": "models",
    "list_models": "models",
    "load_model": "models",
    "load_weights": "models",
    "profile": "models.profile",
    "save_weights": "models",
    "trace": "models",
    # a variant of one's own
    "Activation": "models.slots",
    "Attention": "models.slots",
    "BlockLayer": "models.tokenwise",
    "Geometry": "models.slots",
    "Head": "models.slots",
    "Macs": "models.cost",
    "Mlp": "models.slots",
    "ModelSpec": "models.spec",
    "Norm": "models.slots",
    "Params": "models.cost",
    "Place": "models.slots",
    "Pooling": "models.slots",
    "Positional": "models.slots",
    "SpecError": "models.slots",
    "Tokenizer": "models.slots",
    "register": "models.registry",
    # images
    "DataSpec": "data",
    "load": "data",
    # records, and what they show
    "Reading": "report",
    "alpha_spending": "stats",
    "gather": "report.sources.studies",
    "mean_interval": "stats",
    "report_records": "report",
    "verdict": "stats",
}
"""Public name -> the module below this package that has it."""

__all__ = [*_HOMES]


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with needed_by(f"{__name__}.{name}"):
        globals()[name] = value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value
