"""Calibrated models for TensorFlow Serving. TensorFlow is imported on export."""

from keras_calib.serving.export import *
from keras_calib.serving.verify import *
