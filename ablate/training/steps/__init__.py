"""One compiled training step on each backend."""
