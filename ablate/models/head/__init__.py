"""From features to classes: the specs of the variants, and their layers."""
