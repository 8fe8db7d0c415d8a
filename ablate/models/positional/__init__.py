"""What tells tokens apart by their place: the specs of the variants, and their layers."""
