"""Names for the types that functions take and return."""

from typing import Any, TypeAlias

import numpy as np

# A tensor of the backend in use, or something that converts to one. Naming its class
# would take an import of the backend, and Keras has no type hints.
Tensor: TypeAlias = Any

# An array outside the graph, of any dtype and shape.
Array: TypeAlias = np.ndarray
