"""Callbacks that change a loss, or measure calibration, during `fit`."""

from keras_calib.callbacks.adaptive_gamma import *
from keras_calib.callbacks.gamma_scheduler import *
from keras_calib.callbacks.noise_floor import *
from keras_calib.callbacks.ramps import *
from keras_calib.callbacks.refine_then_calibrate import *
from keras_calib.callbacks.reliability_diagram_logger import *
from keras_calib.callbacks.training_checklist import *
