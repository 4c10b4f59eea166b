"""Metrics that measure calibration as data goes by.

All metrics are streaming: they keep a few sums, whatever the number of samples. They
accept sample weights, masks and `ignore_class`, and are summed over replicas.
"""

from keras_calib.metrics.accuracy import *
from keras_calib.metrics.base import *
from keras_calib.metrics.bin_statistics import *
from keras_calib.metrics.binary import *
from keras_calib.metrics.brier import *
from keras_calib.metrics.classwise import *
from keras_calib.metrics.collection import *
from keras_calib.metrics.expected_calibration_error import *
from keras_calib.metrics.kolmogorov_smirnov import *
from keras_calib.metrics.likelihood import *
from keras_calib.metrics.multilabel import *
from keras_calib.metrics.refinement import *
from keras_calib.metrics.selective import *
from keras_calib.metrics.smooth import *
from keras_calib.metrics.top_k import *
