"""Layers that losses ask for."""

from keras_calib.layers.cosine_logits import CosineLogits

__all__ = ["CosineLogits"]
