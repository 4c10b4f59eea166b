"""Names for what functions take and give."""

from typing import Any, TypeAlias

import numpy as np

# A tensor of the backend in use, or what converts to one. No backend is imported to
# name its class, and Keras has no type hints to read.
Tensor: TypeAlias = Any

# An array outside the graph, of any dtype and shape.
Array: TypeAlias = np.ndarray
