"""The losses that every common test runs. A new loss is a row here."""

from keras_calib import losses

# name -> constructor of a loss over K classes, called with keyword arguments.
TRUE_CLASS = {
    "gamma": lambda **kw: losses.GammaCE(0.1, **kw),
    "gamma_floor": lambda **kw: losses.GammaCE(0.5, floor=0.3, **kw),
    "gamma_stop_gradient": lambda **kw: losses.GammaCE(
        0.1, formulation="stop_gradient", **kw
    ),
    "gamma_smoothed": lambda **kw: losses.GammaCE(0.1, label_smoothing=0.1, **kw),
    "gamma_0": lambda **kw: losses.GammaCE(0.0, **kw),
    "gamma_1": lambda **kw: losses.GammaCE(1.0, **kw),
    "smoothing_uniform": lambda **kw: losses.LabelSmoothingCE(0.1, **kw),
    "smoothing_others": lambda **kw: losses.LabelSmoothingCE(0.1, "others", **kw),
    "focal": lambda **kw: losses.FocalCE(2.0, **kw),
    "focal_half": lambda **kw: losses.FocalCE(0.5, **kw),
    "focal_alpha": lambda **kw: losses.FocalCE(
        2.0, alpha=[0.5, 1.0, 2.0, 1.0, 0.25], **kw
    ),
}

# name -> constructor of a loss over independent labels.
BINARY = {
    "gamma": lambda **kw: losses.GammaBCE(0.1, **kw),
    "gamma_sum": lambda **kw: losses.GammaBCE(0.1, label_reduction="sum", **kw),
    "gamma_floor": lambda **kw: losses.GammaBCE(0.5, floor=0.3, **kw),
    "focal": lambda **kw: losses.BinaryFocalCE(2.0, **kw),
    "focal_alpha": lambda **kw: losses.BinaryFocalCE(2.0, alpha=0.25, **kw),
}
