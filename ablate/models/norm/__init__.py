"""What brings tokens to one scale: the specs of the variants, and their layers."""
