"""Which settings count, and how."""

LEFT_OUT = frozenset(
    {
        "data.root",
        "data.cache",
        "data.memory_limit",
        "hardware.threads",
        "augment.workers",
        "train.checkpoint_every",
        "train.checkpoint_dir",
        "seed",
    }
)
"""Leaves that say where or with how many hands, not what: the data's content enters through its own digest. ``seed``
only fills in the seeds below it, which are what counts."""

FILES = frozenset({"model.weights"})
"""Leaves that name a file: its content is what counts, wherever it lies."""
