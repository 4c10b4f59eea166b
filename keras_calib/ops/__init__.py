"""Pure functions on tensors, on which the losses and metrics are built.

They work on every Keras backend, and use no class of losses or metrics.
"""

from keras_calib.ops.binary_batch import *
from keras_calib.ops.binning import *
from keras_calib.ops.checks import *
from keras_calib.ops.class_batch import *
from keras_calib.ops.class_loss import *
from keras_calib.ops.cross_entropy import *
from keras_calib.ops.entropy import *
from keras_calib.ops.expected_accuracy import *
from keras_calib.ops.focal import *
from keras_calib.ops.gamma import *
from keras_calib.ops.gradient_harmonized import *
from keras_calib.ops.gradient_weights import *
from keras_calib.ops.hard_negative import *
from keras_calib.ops.labels import *
from keras_calib.ops.margin import *
from keras_calib.ops.normal import *
from keras_calib.ops.platform import *
from keras_calib.ops.poly import *
from keras_calib.ops.robust import *
from keras_calib.ops.sums import *
from keras_calib.ops.token_statistics import *
from keras_calib.ops.transition import *
