"""``python -m ablate.tasks.classify.same_code`` says that today's code computes, bit for bit, what earlier ones did.

It writes ``ablate/identity/earlier.json``, by which runs of earlier versions count as today's. Run it after a change of
code that a run reaches, once the tests say that results are the same (``make test``, tests/golden): so runs that are on
record go on counting. With ``differs`` it says the contrary of the statements that are new: runs that reach one of them
are trained anew.
"""

import itertools
import sys
from collections.abc import Iterator

from ablate.data.augment import AugmentSpec
from ablate.identity.code import Code, own_statements
from ablate.identity.earlier import TABLE, write
from ablate.tasks.classify.spec import RunSpec
from ablate.tasks.classify.whole_code import roots, whole_code
from ablate.training.hardware import HardwareSpec


def codes() -> Iterator[Code]:
    """The code of all runs: every variant of the package's, every source, with all that a run may do without."""
    for backend, replicas, flip in itertools.product(("tensorflow", "jax"), (1, 2), (0.0, 0.5)):
        run = RunSpec(hardware=HardwareSpec(replicas=replicas), augment=AugmentSpec(flip=flip))
        yield Code(tuple(sorted(roots())), run.code(backend).apart)
    yield whole_code()


def reached() -> frozenset[str]:
    """Digests of all statements of the package that some run reaches."""
    return frozenset().union(*map(own_statements, codes()))


def main(words: list[str]) -> int:
    """Writes the table; the word ``differs`` says the contrary of new statements. Returns the exit code."""
    if words not in ([], ["differs"]):
        print(f"same_code takes no word, or differs, got {' '.join(words)}.", file=sys.stderr)
        return 2
    write(reached(), same=not words)
    print(f"written: {TABLE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
