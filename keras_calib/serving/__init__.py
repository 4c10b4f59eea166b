"""Export of calibrated models for TensorFlow Serving."""

from keras_calib.serving.export import *
from keras_calib.serving.verify import *
