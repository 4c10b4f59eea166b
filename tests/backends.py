"""What a backend cannot be asked."""

import keras
import pytest

BACKEND = keras.backend.backend()

tensorflow_only = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="is about tf.function, XLA through it, or tf.data"
)
