"""How image classification is run: what the engine asks before, while and after it trains. Nothing heavy at import."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ablate.config.files import preset
from ablate.contract import Length
from ablate.data import DataError
from ablate.data.described import describe, training_images
from ablate.data.spec import check_batch
from ablate.identity import LEFT_OUT
from ablate.models import registry
from ablate.models.cost import InputShape
from ablate.models.slots import SpecError
from ablate.tasks.classify.spec import RunSpec
from ablate.tracking.names import TEST_TOP1, VAL_TOP1
from ablate.training.hardware import Device, import_keras

if TYPE_CHECKING:
    from ablate.tasks.classify.record import ClassifierRunner

DEFAULT_MODEL = "cct_2_3x2"  # of conf/config.yaml

MOST_PARAMS, MOST_TOKENS = 10**12, 10**6
"""Most that a model may have: beyond, weights alone take terabytes, and attention's weights as much for one image."""


_OF_IMAGES = (
    *("data.image_size", "data.crop_pct", "data.interpolation", "data.channels", "data.background"),
    *("data.mean", "data.std"),
)
"""What is done to each image: it may change a model's MACs, and never how many images there are."""


class Running:
    """The half of ``contract.Task`` that is about runs and not about words."""

    judged_by: tuple[str, ...] = (VAL_TOP1, TEST_TOP1)

    def bringing(self, said: Mapping[str, Any]) -> Sequence[str]:
        """The variants, where there are options: a variant takes away those of the one that it replaces.

        An official name brings none.
        """
        model = said.get("model", DEFAULT_MODEL)
        named = preset("model", model) if isinstance(model, str) else None
        plain = named is not None and not named.options
        options = any(key.startswith("model.options") for key in said)
        return () if plain and not options else tuple(f"model.{slot}" for slot in registry.slots())

    def preview(self) -> "ClassifierPreview":
        """Looks at the runs of one plan."""
        return ClassifierPreview()

    def length(self, run: RunSpec) -> Length:
        """Epochs without those of the cool-down, or seconds of training steps."""
        return Length(run.train.epochs, run.train.seconds)

    def with_epochs(self, run: RunSpec, epochs: int) -> RunSpec:
        """The run with so many epochs."""
        return replace(run, train=replace(run.train, epochs=epochs))

    def changes_examples(self, axis: str) -> bool:
        """Whether a leaf or group may change how many images a run trains on, or for how many epochs."""
        of_data = axis.startswith("data.") and axis not in (*_OF_IMAGES, *LEFT_OUT)
        return of_data or axis in ("data", "data.root", "train", "train.epochs", "recipe")

    def validates(self, run: RunSpec) -> bool:
        """Whether images are held out."""
        return run.data.val_fraction > 0

    def start(self) -> None:
        """Imports Keras and its backend.

        Raises:
            HardwareError: The backend is none that trains here.
        """
        import_keras()

    def runner(self) -> "ClassifierRunner":
        """Trains in this process."""
        from ablate.tasks.classify.record import ClassifierRunner

        return ClassifierRunner()

    def takes_one_gpu(self, run: RunSpec) -> bool:
        """Not a run on the processor, nor one that spreads a batch over several devices."""
        return run.hardware.device != Device.cpu and run.hardware.replicas == 1

    def with_threads(self, run: RunSpec, threads: int | None) -> RunSpec:
        """The run on so many threads, where it leaves their number open."""
        if run.hardware.threads is not None:
            return run
        return replace(run, hardware=replace(run.hardware, threads=threads))

    def may_help(self, error: Exception) -> bool:
        """Memory, disk and network recover; what a definition says wrongly does not."""
        return isinstance(error, DataError) or not isinstance(error, ValueError)

    def inputs(self, run: RunSpec) -> str:
        """Digest of the images, labels and split.

        Raises:
            DataError: They cannot be read.
        """
        from ablate.data.load import load

        return load(run.data).digest

    def graph(self, run: RunSpec) -> str:
        """A key that runs of one compiled model share, as far as can be told before the data is read."""
        from ablate.tasks.classify.run import graph_key

        return graph_key(run)

    def register_best(self, plan: Any, store: Any) -> str:
        """Registers the best model by validation accuracy."""
        from ablate.tasks.classify.best import register_best

        return register_best(plan, store)


class ClassifierPreview:
    """What can be told of runs before any image is decoded; each set of data is looked at once."""

    def __init__(self) -> None:
        self._costs: dict[str, dict[str, int] | None] = {}
        self._trained: dict[str, int | None] = {}
        self._described: dict[str, tuple[InputShape, int] | None] = {}

    def check(self, run: RunSpec) -> None:
        """Refuses a selection without validation images, and a batch that takes more images than there are.

        Raises:
            TrainError: Validation is to select, and nothing is held out.
            DataError: The data cannot be used, or has too few images, as far as that can be told now.
        """
        run.check_selection()
        self.check_size(run)

    def check_size(self, run: RunSpec) -> None:
        """Raises DataError where a batch takes more images than the run trains on, as far as that can be told now."""
        key = repr(run.data)
        if key not in self._trained:
            self._trained[key] = training_images(run.data)
        if (images := self._trained[key]) is not None:
            check_batch(run.train.batch_size, images)

    def known(self, run: RunSpec) -> tuple[InputShape, int] | None:
        """Image shape and classes of the run's data, as far as can be told without decoding it."""
        key = repr(run.data)
        if key not in self._described:
            self._described[key] = describe(run.data)
        return self._described[key]

    def cost(self, run: RunSpec) -> Mapping[str, int] | None:
        """What one image costs the run's model on the run's data, in closed form.

        Raises:
            DataError: The data cannot be used.
            SpecError: The model cannot be built on it.
        """
        known = self.known(run)
        key = repr((run.model, known))
        if key not in self._costs:
            self._costs[key] = cost(run, *known) if known else None
        return self._costs[key]


def cost(spec: RunSpec, input_shape: InputShape, num_classes: int) -> dict[str, int]:
    """The model's cost on images of this shape: params, trainable_params, tokens, and MACs by each convention.

    Raises:
        SpecError: The model cannot be built on them.
    """
    model = spec.model
    params, tokens = model.params(input_shape, num_classes), model.tokens(input_shape)
    for what, count, most in (("parameters", params, MOST_PARAMS), ("tokens", tokens, MOST_TOKENS)):
        if count > most:
            raise SpecError(
                f"a model must have at most {most:,} {what}, got {count:,}; make it, or its images, smaller."
            )
    return {
        "params": params,
        "trainable_params": model.trainable_params(input_shape, num_classes),
        "tokens": tokens,
        "macs": model.macs(input_shape, num_classes),
        "macs_modules": model.macs(input_shape, num_classes, convention="macs_modules"),
        "macs_fvcore": model.macs(input_shape, num_classes, convention="macs_fvcore"),
    }
