"""Figures. Matplotlib is imported only when one is drawn."""

from keras_calib.viz.loss_curves import *
from keras_calib.viz.reliability import *
from keras_calib.viz.risk_coverage import *
