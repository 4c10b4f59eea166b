"""A calibrated model on a server: TensorFlow is imported when one is exported."""

from keras_calib.serving.export import export
from keras_calib.serving.verify import verify

__all__ = ["export", "verify"]
