"""Layers that are fitted after training and turn logits into probabilities."""

from keras_calib.calibrators.base import *
from keras_calib.calibrators.beta import *
from keras_calib.calibrators.calibrate import *
from keras_calib.calibrators.ensemble import *
from keras_calib.calibrators.histogram import *
from keras_calib.calibrators.isotonic import *
from keras_calib.calibrators.linear import *
from keras_calib.calibrators.noise import *
from keras_calib.calibrators.platt import *
from keras_calib.calibrators.quadratic import *
from keras_calib.calibrators.report import *
from keras_calib.calibrators.structured import *
from keras_calib.calibrators.temperature import *
