"""Every figure of calibration, in one call."""

from keras_calib.evaluation.answer import *
from keras_calib.evaluation.compare import *
from keras_calib.evaluation.evaluate import *
from keras_calib.evaluation.models import *
from keras_calib.evaluation.per_sample import *
from keras_calib.evaluation.slices import *
