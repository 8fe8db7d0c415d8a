"""A sequence to one vector: the specs of the variants, and their layers."""
