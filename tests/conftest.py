"""Settings that all tests share."""

import os
import types

# These must be set before a backend is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("JAX_ENABLE_X64", "1")
# On a GPU JAX rounds the factors of a matrix product by default; numpy does not.
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # processes share a GPU

import keras
import pytest

from keras_calib.ops.floats import divide_no_nan


@pytest.fixture(autouse=True, scope="session")
def _on_the_device_that_is_asked_for():
    """Fails if a GPU is asked for and the backend computes on the CPU."""
    device = str(keras.ops.zeros(()).device).lower()
    found = "cuda" in device or "gpu" in device
    assert found or not os.environ["CUDA_VISIBLE_DEVICES"], device


@pytest.fixture(autouse=True, scope="session")
def _exact_mean_on_torch():
    """Keeps the mean of a float64 loss in float64.

    Keras 3.15 takes the mean over a batch with `divide_no_nan`, which on torch answers
    in float32. The digits of a float64 loss would then be Keras's, not the loss's, and
    only a patch of Keras's own module changes that. `test_keras.py` fails once it is
    not needed.
    """
    if keras.backend.backend() != "torch":
        yield
        return
    from keras.src.losses import loss

    exact = types.ModuleType("ops")
    exact.__dict__.update(loss.ops.__dict__, divide_no_nan=divide_no_nan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss, "ops", exact)
        yield
