"""What can be swept: one package for each kind of run."""
