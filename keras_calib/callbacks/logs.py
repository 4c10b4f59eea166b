"""The logs that Keras hands to callbacks."""

from collections.abc import Mapping
from typing import Any, TypeAlias

Logs: TypeAlias = Mapping[str, Any] | None


def was_validated(logs: Logs) -> bool:
    """Tells from the logs of an epoch whether validation ran."""
    return any(name.startswith("val_") for name in logs or {})
