"""Layers and models that belong to a loss."""

from keras_calib.layers.cosine_logits import *
from keras_calib.layers.fused_head import *
from keras_calib.layers.multi_task import *
