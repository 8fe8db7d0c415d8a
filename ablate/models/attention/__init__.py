"""How tokens look at each other: the layers of self-attention."""
