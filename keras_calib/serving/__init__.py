"""Calibrated models for TensorFlow Serving. TensorFlow is imported on export."""

from keras_calib.serving.export import export
from keras_calib.serving.verify import verify

__all__ = ["export", "verify"]
