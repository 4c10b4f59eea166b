"""Names for what functions take and give."""

from __future__ import annotations

from typing import Any, TypeAlias

# A tensor of the backend in use, or what converts to one. No backend is imported to
# name its class, and Keras has no type hints to read.
Tensor: TypeAlias = Any
