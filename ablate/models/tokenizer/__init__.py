"""Images to tokens: the specs of the variants, and their layers."""
