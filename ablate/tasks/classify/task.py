"""What a sweep must know of image classification (``ablate.contract.Task``); light, since composing asks for it."""

from ablate.tasks.classify.running import Running


class Classify(Running):
    """Training a Compact Transformer to classify images."""

    name = "classify"


TASK = Classify()
