"""Exit codes of a command that does not end well."""

USAGE = 2
"""Exit code of a command that says something impossible."""

FAILED = 1
"""Exit code of work that was asked for rightly and did not all succeed."""

INTERRUPTED = 130
"""Exit code of what Ctrl-C ended, as shells have it."""

TERMINATED = 143
"""Exit code of a training that SIGTERM ended, its state kept."""
