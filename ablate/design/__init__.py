"""What a sweep is, as plain data: its file, its searches, its points."""
