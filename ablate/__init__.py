"""Architecture ablations for Compact Transformers: build, train, cost, record, compare."""

__version__ = "0.1.0"
