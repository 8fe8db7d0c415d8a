"""One digest for whatever can be written as JSON."""

import hashlib
import json


def digest(content: object) -> str:
    """sha256 of the content's JSON with sorted keys, as 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
