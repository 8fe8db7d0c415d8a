"""Verbs that tell what is known without training: models, verify."""

from ablate.cli.columns import aligned
from ablate.config.files import group_choices, preset
from ablate.config.overrides import ConfigError
from ablate.models import zoo
from ablate.sweep.output import show
from ablate.training.hardware import import_keras, require_keras


def models(pattern: str) -> int:
    """Lists the models that have a name, with what they cost.

    Raises:
        ConfigError: The pattern names a file of settings, which model= takes.
        ValueError: No name matches the pattern.
    """
    if pattern in group_choices("model") and preset("model", pattern) is None:
        raise ConfigError(
            f"a model's name must be official, but {pattern} is a file of settings, which model={pattern} takes; plan "
            "shows what the models of a sweep cost."
        )
    names = zoo.matching(pattern)
    rows = [["model", "tokens", "params", "MACs", "modules only", "fvcore"]]
    for name in names:
        named = zoo.parse(name)
        if named.image_size is None or named.num_classes is None:
            continue  # never for a listed name
        shape, classes = (*named.image_size, 3), named.num_classes
        counts = [named.spec.tokens(shape), named.spec.params(shape, classes)]
        counts += [named.spec.macs(shape, classes, convention=c) for c in ("macs", "macs_modules", "macs_fvcore")]
        rows.append([name, *(f"{count:,}" for count in counts)])
    show(*aligned(rows, text=1))
    return 0


def verify(part: str | None) -> int:
    """Prints what of the published figures and of the official code's numbers comes out on this machine.

    Args:
        part: ``published``, ``variants``, ``golden``, ``training``, ``manifold`` or ``manifold_golden``; None goes
            through all.

    Returns:
        Exit code: 0, or 1 where anything differs from what is recorded as expected.

    Raises:
        MissingPackageError: A part computes, and Keras is not installed.
        VerifyError: There is no such part.
    """
    from ablate.proof import verify as proof

    parts, sections = proof.choose(part), []
    if proof.WITH_KERAS.intersection(parts):
        require_keras(f"verify {part}" if part else "verify")
    for name in parts:
        if name in proof.WITH_KERAS:
            import_keras()
        section = proof.PARTS[name]()
        print("\n".join([section.title, "", *section.lines, ""]), flush=True)
        sections.append(section)
    print("\n".join(proof.summary(sections)))
    return int(any(section.differences for section in sections))
