"""The color and the line of each model, the same in every figure."""

STYLES = {}


def style(name):
    """Returns the color and the line of a model by its name in a figure."""
    return STYLES["matched" if name.endswith(", matched") else name]


def _draw(color, line, *names):
    """Gives a model, which may have several names, its color and line."""
    for name in names:
        STYLES[name] = {"color": color, "linestyle": line}


# Gammas are green below 0.01 and blue from there on, each from light to dark. A dashed
# line has a floor, and a dotted one anneals gamma up to that of its color. The other
# losses have other hues. In each figure they are distinguishable with any color vision,
# and in print.
_draw("black", "-", "cross-entropy", "gamma 0", "KL (gamma 0)")
for _gamma, _color in {
    "1e-07": "#a6dba0",
    "1e-05": "#5aae61",
    "0.001": "#1b7837",
    "0.01": "#9ecae1",
    "0.1": "#0072b2",
    "0.5": "#08306b",
}.items():
    _plain = f"GammaCE({_gamma})", f"gamma {_gamma}", f"{_gamma}, floor 0"
    _draw(_color, "-", *_plain)
    _draw(_color, "--", f"GammaCE({_gamma}, floor=0.2)", f"{_gamma}, floor 0.2")
_draw("#5ba3cf", "-", "matched")
_draw("#08306b", ":", "GammaCE, 0 to 0.5", "gamma 0 to 0.5")
_draw("#0072b2", ":", "GammaCE, 1e-7 to 0.1")
_draw("#1b7837", "-", "GammaCE(1 / V)")  # of 1000 words
_draw("#a6dba0", "--", "TaiLr, synthetic: 1e-7, floor 0.2")
_draw("#cc79a7", "-", "TaiLr, IWSLT14: 0.1, floor 0.3, smoothed")
_draw("#882255", "-.", "TaiLr, Gigaword: 0.8, floor 0.2, smoothed")
_draw("#e69f00", "--", "LabelSmoothingCE(0.1)")
_draw("#d55e00", "-.", "FocalCE(2)")
_draw("#d55e00", "--", "TVD")
_draw("#d55e00", "", "the oracle itself")
_draw("#cc79a7", "--", "hinge")
_draw("#009e73", "-.", "EXACT")

# Calibrators, and the model without one.
_draw("black", "-", "as trained")
_draw("#e69f00", "--", "temperature")
_draw("#2171b5", "-.", "vector")
_draw("#009e73", ":", "isotonic")
