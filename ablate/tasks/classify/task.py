"""What a sweep must know of image classification (``ablate.contract.Task``); light, since composing asks for it."""

from collections.abc import Mapping, Sequence
from typing import Any

from ablate.contract import Task
from ablate.models import zoo
from ablate.models.spec import ModelSpec
from ablate.tasks.classify import paper
from ablate.tasks.classify.running import Running
from ablate.tasks.classify.spec import Config, RunSpec


class Classify(Running):
    """Training a Compact Transformer to classify images."""

    name = "classify"
    config: type = Config
    run: type = RunSpec
    groups: tuple[str, ...] = ("model", "data", "augment", "train", "recipe", "hardware")
    tables: tuple[str, ...] = paper.TABLES

    def presets(self, group: str) -> Sequence[str]:
        """The paper's architectures and the Keras ports, without a size: the data says it."""
        return zoo.presets() if group == "model" else ()

    def forms(self, group: str) -> Sequence[str]:
        """Any depth, patch, kernel and number of convolutions makes a model's name."""
        return zoo.FORMS if group == "model" else ()

    def preset(self, group: str, option: str) -> ModelSpec | None:
        """An architecture by its name alone: the image size and the classes are the data's to say."""
        if group != "model":
            return None
        try:
            named = zoo.parse(option)
        except ValueError:
            return None
        alone = named.image_size is None and named.num_classes is None
        return named.spec if alone or option in zoo.presets() else None

    def leaving(self, group: str, option: str, given: Mapping[str, Any]) -> Sequence[str]:
        """Options of each variant of a named architecture that an override replaces, e.g. its tokenizer."""
        spec = self.preset(group, option)
        own: Mapping[str, Any] = {} if spec is None else spec.options
        replaced = [axis for axis in own if given.get(f"model.{axis}", name := getattr(spec, axis)) != name]
        return [f"model.options.{axis}.{leaf}" for axis in replaced for leaf in own[axis]]


TASK: Task = Classify()
