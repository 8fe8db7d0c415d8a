"""What a run's data will be, told before any image is decoded: shape, classes, number of training images."""

from ablate.data.spec import Counts, DataSpec, ImageShape, check_moments, module_of


def describe(spec: DataSpec) -> tuple[ImageShape, int]:
    """What a model will get, without decoding images: built-in sources know it, a folder is listed and one header read.

    A folder of both grey and colour images may be described by a grey one; it loads as colour.

    Returns:
        (height, width, channels), and the number of classes.

    Raises:
        DataError: The spec or the files cannot be used.
    """
    spec.check()
    source = module_of(spec.source)
    shape, num_classes = source.describe(spec)
    height, width = spec.size or shape[:2]
    channels = spec.channels or shape[2]
    published_grey = source.MEAN is not None and len(source.MEAN) == 1
    if spec.channels or channels == 3 or spec.root is None or published_grey:  # else colour may come behind the first
        check_moments(spec, channels)
    return (height, width, channels), num_classes


def training_images(spec: DataSpec) -> int | None:
    """How many images a run trains on, without decoding images; None where only reading them tells.

    Of images that turn out damaged later, with ``data.skip_unreadable``, nothing is known yet: then there are fewer.

    Raises:
        DataError: The spec or the files cannot be used.
    """
    spec.check()
    counts: Counts | None = module_of(spec.source).counts(spec)
    if counts is None:
        return None
    from ablate.data.split import training_images as kept  # NumPy, for which composing need not wait

    return kept(counts, spec)
