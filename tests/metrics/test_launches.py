"""How many operations an update launches on torch, each a kernel on a GPU."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_calib
from keras_calib.metrics import CalibrationMetrics

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="elsewhere a compiler merges them"
)

# They make no kernel: they only describe a tensor anew.
VIEWS = {"view", "permute", "unsqueeze", "select", "split_with_sizes", "detach"}
# Numbers of the CPU.
VIEWS |= {"lift_fresh", "scalar_tensor", "promote_types"}


@pytest.mark.parametrize(
    ("metric", "limit"),
    [
        (keras_calib.ExpectedCalibrationError, 28),
        (keras_calib.CalibrationGap, 25),
        (CalibrationMetrics, 106),
    ],
)
def test_few_operations(metric, limit):
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    launched = []

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            launched.append(str(function.overloadpacket).removeprefix("aten."))
            return function(*arguments, **(options or {}))

    y, z = map(
        ops.convert_to_tensor, (np.zeros(8, "int64"), np.zeros((8, 3), "float32"))
    )
    metric = metric(from_logits=True)
    metric.update_state(y, z)
    with torch.no_grad(), Recorder():
        metric.update_state(y, z)
    launched = [name for name in launched if name not in VIEWS]
    assert len(launched) <= limit, " ".join(launched)
