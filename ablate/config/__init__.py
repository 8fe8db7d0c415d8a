"""What can be set, where its files lie, how words become dataclasses, and what a wrong word is told."""
