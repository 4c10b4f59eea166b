"""The form of a computation that is fastest where its tensors lie.

On a CPU a scatter, a top-k and a search of a sorted array are the fastest. On GPUs and
TPUs the compiler fuses none of them: there, comparisons with every index, which fuse
into the reductions and products around them, cost less than the memory that a scatter
writes. Both forms of a computation stand side by side where it is defined.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_calib.types import Tensor

__all__ = ["by_platform"]


def by_platform(
    cpu: Callable[..., Any],
    accelerator: Callable[..., Any],
    *tensors: Tensor,
    tpu: Callable[..., Any] | None = None,
) -> Any:
    """Returns `cpu(*tensors)` on a CPU, and `accelerator(*tensors)` elsewhere.

    A TPU takes `tpu(*tensors)` if it is given. All give the same up to rounding. In a
    compiled function JAX chooses when it lowers for a platform, so that one trace may
    serve several; no form may then capture a traced tensor.
    """
    tensors = tuple(map(ops.convert_to_tensor, tensors))
    forms = {"cpu": cpu} if tpu is None else {"cpu": cpu, "tpu": tpu}
    if keras.backend.backend() == "jax":
        import jax

        if any(isinstance(x, jax.core.Tracer) for x in tensors):
            return jax.lax.platform_dependent(*tensors, **forms, default=accelerator)
    return forms.get(_platform(tensors[0]), accelerator)(*tensors)


def compiled_by_xla() -> bool:
    """Says whether TensorFlow traces a function that XLA compiles."""
    import tensorflow as tf
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    return graph is not None and bool(GraphOrParentsInXlaContext(graph))


def _platform(x: Tensor) -> str:
    backend = keras.backend.backend()
    if backend == "torch":
        return str(x.device.type)
    if backend == "jax":
        return str(next(iter(x.devices())).platform)
    import tensorflow as tf

    if x.device:
        return str(tf.DeviceSpec.from_string(x.device).device_type).lower()
    # A tensor in a graph often has no device yet: it goes to an accelerator if one is
    # visible.
    visible = {device.device_type for device in tf.config.list_logical_devices()}
    return min(visible - {"CPU"}, default="CPU").lower()
