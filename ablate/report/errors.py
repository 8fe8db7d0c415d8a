"""What every part of a report may raise."""


class ReportError(ValueError):
    """Nothing to report; one sentence."""
