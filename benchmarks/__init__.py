"""What things cost in time, measured by hand and never by a test: ``python -m benchmarks.NAME``."""
