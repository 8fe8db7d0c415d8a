"""What records say: runs, rows, a table and its verdicts."""
