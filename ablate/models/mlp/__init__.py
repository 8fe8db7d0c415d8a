"""What each token passes alone in a block: the specs of the variants, and their layers."""
