"""A fork's models with attention over several manifolds: its counts, and its weights through our layers.

The numbers are those of ``ablate/proof/reference`` (README.md there). Tolerances are the reference's own: logits and
features within 1e-9 in float64, and within 5e-5 in float32, or 2e-3 where a singular value decomposition stands before
the encoder; gradients, of their norm, within 2e-3 or 5e-3 in float32.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ablate.models import manifold_names, zoo

if TYPE_CHECKING:
    from ablate.proof.parity import Check, Floatx, Golden

TYPES = {
    "all": manifold_names.MAPS,
    "gm": ("euclid", "grassmann"),
    "spd": ("euclid", "spd"),
    "riem": ("euclid", "spd"),
}
"""The fork's types of attention -> the maps in them."""
_GOLDEN = re.compile(r"(?P<base>.*_\d+(?:x\d+)?_\d+)(?:_(?:all|gm|spd|riem))?(?:_noln)?_(?:learnable|sine|none)")
_UNDETERMINED = re.compile(r".*(attention_pool|conv_attn\.1)\.bias")
"""A constant that is added to all that a softmax sees: its gradient is 0 in exact arithmetic."""
_UNDETERMINED_ALONE = re.compile(r".*conv_attn\.0\.bias")
"""The same where it has a number for each map: of a fusion that no norm precedes, and of a BatchNorm."""


@dataclass(frozen=True)
class Allowed:
    """How far one precision may be from the reference.

    Attributes:
        outputs: Largest absolute difference of features and logits.
        stages: Of tokens and blocks, which the reference stored in float32.
        gradients: Difference of a gradient's statistics, as a share of the norm of that gradient.
    """

    outputs: float
    stages: float
    gradients: float


TOLERANCES: dict[tuple[str, bool], Allowed] = {
    ("float32", False): Allowed(outputs=5e-5, stages=5e-5, gradients=2e-3),
    ("float32", True): Allowed(outputs=2e-3, stages=2e-3, gradients=5e-3),
    ("float64", False): Allowed(outputs=1e-9, stages=1e-5, gradients=1e-9),
    ("float64", True): Allowed(outputs=1e-9, stages=1e-5, gradients=1e-9),
}
"""By precision, and by whether tokens pass an observability matrix."""


def counted(row: Mapping[str, str]) -> zoo.NamedModel:
    """The model of a row of ``manifold_variants.csv``: a factory with a type of attention, or the class behind it."""
    kind = re.search(r"attention_type='(\w+)'", row["source"])
    seed = row["source"].startswith("seed_")
    named = zoo.parse(f"{manifold_names.SEED}{row['name']}" if seed else row["name"])
    if kind is None:
        return named
    options = manifold_names.manifold_options(TYPES[kind[1]], seed=seed)
    options |= {"map_norm": "none"} if "ln_attention=False" in row["source"] else {}
    spec = replace(named.spec, options={**named.spec.options, "attention": options})
    return named._replace(spec=spec)


def named(golden: "Golden") -> tuple[str, dict[str, Any]]:
    """Name and keywords under which `ablate.models.create_model` builds a golden model of the fork."""
    match, config = _GOLDEN.fullmatch(golden.name), golden.facts["config"]
    if match is None:
        raise ValueError(f"a golden model's name must say size and embedding, got {golden.name!r}.")
    keywords: dict[str, Any] = {
        "dim": config["embedding_dim"],
        "heads": config["num_heads"],
        "mlp_ratio": float(config["mlp_ratio"]),
        "positional": config["positional_embedding"],
        "maps": TYPES.get(config.get("attention_type", "")),
        "map_norm": None if config.get("ln_attention", True) else "none",
    }
    return match["base"], keywords


def built(golden: "Golden") -> Any:
    """The model of that name, with the fork's weights."""
    from ablate.models import create_model, load_weights

    name, keywords = named(golden)
    model = create_model(name, **keywords)
    load_weights(model, golden.weights)
    return model


def forward(golden: "Golden", precision: "Floatx") -> "list[Check]":
    """Number of parameters, tokens, each block, features, logits, and what is kept of the first block's attention."""
    from ablate.models import trace
    from ablate.models.profile import profile
    from ablate.proof.parity import Check, computing_in, distance

    arrays, allowed = golden.arrays, TOLERANCES[precision, golden.facts["observability"] is not None]
    with computing_in(precision):
        model = built(golden)
        seen = trace(model, arrays["x"])
        params = profile(model).params
    stages = {"tokenizer.tokens" if "om" in arrays else "tokenizer": "tokens", "tokens": "embedded"}
    stages |= {name: name for name in ("block_0", "block_1")}
    inside = {"": "attention_0", ".fused": "fused_0", **{f".{name}": f"map_{name}_0" for name in manifold_names.MAPS}}
    stages |= {f"block_0.attention{ours}": theirs for ours, theirs in inside.items() if f"{theirs}_sample0" in arrays}
    whole = {"tokenizer.observability": "om"} if "om" in arrays else {}
    outputs = [(name, f"{name}_f64") for name in ("features", "logits")]
    return [
        Check("number of parameters", abs(params - golden.facts["params"]), 0.5),
        *(Check(n, distance(seen[n][0], arrays[f"{theirs}_sample0"]), allowed.stages) for n, theirs in stages.items()),
        *(Check(name, distance(seen[name], arrays[theirs]), allowed.stages) for name, theirs in whole.items()),
        *(Check(name, distance(seen[name], arrays[theirs]), allowed.outputs) for name, theirs in outputs),
    ]


def gradients(golden: "Golden", precision: "Floatx") -> "list[Check]":
    """The gradient of mean cross entropy for every parameter, in inference mode; 0 for those that nothing reads."""
    from ablate.models.weights import official_name, one_head
    from ablate.proof import parity

    expected = {one_head(name): each for name, each in golden.facts["grads"].items() if each is not None}
    dead, allowed = (
        set(golden.facts["dead_parameters"]),
        TOLERANCES[precision, golden.facts["observability"] is not None],
    )
    with parity.computing_in(precision):
        model = built(golden)
        _, found = parity.differentiate(model, golden.arrays["x"], golden.arrays["labels"])
        weights = {official_name(weight.path): weight for weight in model.trainable_variables}
    strangers = found.keys() ^ {*expected, *dead}
    checks = [parity.Check("number of parameters with a gradient", len(strangers), 0.5)]
    for name in sorted(found.keys() - strangers):
        if _UNDETERMINED.fullmatch(name) or (found[name].ndim == 1 and _UNDETERMINED_ALONE.fullmatch(name)):
            continue
        if name in dead:
            checks.append(parity.Check(f"gradient of {name}", float(abs(found[name]).max()), 1e-30))
        elif found[name].ndim == 0:
            product = float(found[name]) * float(parity.float64(weights[name]))
            known = expected[name]["dot_param"]
            checks.append(parity.Check(f"{name} times its gradient", abs(product - known), 1e-5 + 1e-3 * abs(known)))
        else:
            weight = parity.float64(weights[name])
            checks += parity.gradient_checks(name, found[name], weight, expected[name], allowed.gradients)
    return checks
