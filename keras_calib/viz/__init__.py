"""Figures, drawn with matplotlib.

Install it with `pip install 'keras-calib[plot]'`; it is imported when a figure is
drawn.
"""

from keras_calib.viz.loss_curves import *
from keras_calib.viz.reliability import *
from keras_calib.viz.risk_coverage import *
