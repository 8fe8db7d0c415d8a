"""Provenance as a run records it."""

import subprocess
import sys
from pathlib import Path

from ablate.provenance import provenance


def test_provenance_names_commit_versions_and_machine() -> None:
    import numpy as np

    tags = provenance()
    assert tags["ablate.version.numpy"] == np.__version__
    assert {"ablate.version.keras", "ablate.version.mlflow"} <= tags.keys()
    assert tags["ablate.version.python"] == sys.version.split()[0]
    assert tags["ablate.platform"]
    assert tags["ablate.cpu"]
    inside = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    if inside.returncode == 0:
        assert tags["mlflow.source.git.commit"] == inside.stdout.strip()
        assert tags["ablate.git.dirty"] in ("true", "false")
