"""From a question to a finished set of runs: the points of a sweep, their plan, their queue, and who works on it."""
