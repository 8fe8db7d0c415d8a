"""Image classification by Compact Transformers: one run, its record, and what belongs to this model family's paper."""
