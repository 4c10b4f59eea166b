"""Pictures. Matplotlib is imported only when one is drawn."""

from keras_calib.viz.reliability import ReliabilityDisplay, reliability_diagram

__all__ = ["ReliabilityDisplay", "reliability_diagram"]
