"""What stands between the layers of a block's MLP: the specs of the variants, and their functions."""
