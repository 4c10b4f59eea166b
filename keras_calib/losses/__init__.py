"""Losses that shape confidence while a model trains.

Like Keras's own losses, they take `from_logits`, `reduction`, `name` and `dtype`,
sample weights and masks. Each class has a function form, which returns one loss for
each sample and takes the arguments of the class but `reduction`, `name` and `dtype`.
"""

from keras_calib.losses.alpha_balanced import *
from keras_calib.losses.base import *
from keras_calib.losses.confidence_penalty import *
from keras_calib.losses.contrast import *
from keras_calib.losses.entropy_gated import *
from keras_calib.losses.expected_accuracy import *
from keras_calib.losses.focal import *
from keras_calib.losses.forward_corrected import *
from keras_calib.losses.gamma import *
from keras_calib.losses.gamma_choice import *
from keras_calib.losses.gamma_presets import *
from keras_calib.losses.gradient_harmonized import *
from keras_calib.losses.gradient_weighted import *
from keras_calib.losses.hard_negative import *
from keras_calib.losses.hyperparameter import *
from keras_calib.losses.label_smoothing import *
from keras_calib.losses.linear import *
from keras_calib.losses.logit_adjusted import *
from keras_calib.losses.margin import *
from keras_calib.losses.poly import *
from keras_calib.losses.ranking import *
from keras_calib.losses.robust import *
