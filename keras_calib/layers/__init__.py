"""Layers and models that belong to a loss."""

from keras_calib.layers.cosine_logits import CosineLogits
from keras_calib.layers.multi_task import MultiTaskModel

__all__ = ["CosineLogits", "MultiTaskModel"]
