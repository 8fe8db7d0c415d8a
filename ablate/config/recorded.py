"""Settings among a run's artifacts: what is written of them, and read again."""

import re
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ablate.config.explain import sentence
from ablate.config.overrides import ConfigError
from ablate.contract import Run, task


def as_yaml(content: Any) -> str:
    """A dataclass or a mapping of plain values as YAML, in the order of its keys."""
    return OmegaConf.to_yaml(OmegaConf.create(content))


def read_spec(path: Path) -> Run:
    """The spec of a run that was recorded, from its artifact ``config.yaml``; a leaf that is newer has its default.

    Raises:
        ConfigError: The file holds no spec, or one with keys that there are no more.
    """
    try:
        plain = _literal(OmegaConf.to_container(OmegaConf.load(path)))
        recorded = OmegaConf.merge(OmegaConf.structured(task().run), OmegaConf.create(plain))
        return cast(Run, OmegaConf.to_object(recorded))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path} must hold the spec of a run, but: {sentence(error)}") from None


def _literal(node: Any) -> Any:
    """Values that are taken as they stand: what was recorded is resolved, and ``${…}`` in it is part of a name."""
    if isinstance(node, dict):
        return {key: _literal(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_literal(value) for value in node]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", node) if isinstance(node, str) else node
