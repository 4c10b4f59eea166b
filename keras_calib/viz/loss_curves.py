"""Losses and their weights as functions of the true class's probability."""

from collections.abc import Mapping, Sequence
from itertools import cycle, product
from typing import Any, Self

import numpy as np
from keras import ops

from keras_calib.losses.base import TrueClassLoss
from keras_calib.viz.display import COLORS, Display, new_axes

__all__ = ["LossCurvesDisplay", "loss_curves"]

_STYLES = ("-", "--", "-.", ":")


class LossCurvesDisplay(Display):
    """Losses l(p) and their weights w(p) = -dl/dp, side by side.

    The weight determines the training: that of cross-entropy is 1 / p, that of the
    smooth accuracy 1. Both are drawn in dotted gray; the robust losses lie between
    them.

    Args:
        losses: losses by name, each with the `value` and `weight` of a
            `TrueClassLoss`.
        p: the probabilities to draw at; by default 400 from 0.001 to 0.999.

    Attributes:
        p: the probabilities.
        values: l(p) by name. That of a stop-gradient loss is not an antiderivative
            of its weight.
        weights: w(p) by name.
        axes_: the two axes, after `plot`.
        figure_: the figure, after `plot`.

    Raises:
        ValueError: if there are no losses, if a loss has no `value` and `weight`, or
            they are not finite, if a probability is outside (0, 1), and in `plot` if
            there are not two axes.

    Example:

    >>> import keras_calib
    >>> display = keras_calib.viz.loss_curves(
    ...     [keras_calib.GammaCE(0.1), keras_calib.GeneralizedCE(0.7)]
    ... )
    >>> display.axes_[1].get_xlabel()
    'Probability of the true class, p'
    """

    def __init__(
        self, losses: Mapping[str, TrueClassLoss], p: Any | None = None
    ) -> None:
        if not losses:
            raise ValueError("`losses` must hold at least one loss. Received: none")
        p = np.linspace(0.001, 0.999, 400) if p is None else np.asarray(p, "float64")
        if p.ndim != 1 or not p.size or not ((p > 0) & (p < 1)).all():
            raise ValueError(
                f"`p` must be a list of probabilities in (0, 1). Received: {p}"
            )
        self.p = p
        known = [ops.convert_to_tensor(x) for x in (np.log(p), p, 1 - p)]
        self.values, self.weights = {}, {}
        for name, loss in losses.items():
            if not isinstance(loss, TrueClassLoss):
                raise ValueError(
                    "`losses` must be TrueClassLosses, functions of the true class's "
                    f"probability alone. Received: {name}={loss!r}"
                )
            value = ops.convert_to_numpy(loss.value(*known))
            weight = ops.convert_to_numpy(loss.weight(*known)) / p
            if not np.isfinite(value + weight).all():
                raise ValueError(
                    "The value and the weight of a loss must be finite. Received: "
                    f"{name}={loss!r}, of NaN or infinite values"
                )
            self.values[name], self.weights[name] = value, weight

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.values)})"

    def plot(self, axes: Any = None) -> Self:
        """Draws the curves, and returns the display.

        Args:
            axes: two matplotlib axes, for losses and weights; a new figure by
                default.
        """
        if axes is None:
            axes = new_axes(ncols=2, figsize=(9, 4), layout="constrained")
        if np.size(axes) != 2:
            raise ValueError(
                "`axes` must hold two axes, for losses and weights. "
                f"Received: {np.size(axes)}"
            )
        of_loss, of_weight = axes
        for bound in (1 / self.p, np.ones_like(self.p)):
            of_weight.plot(self.p, bound, ":", color="#999999", linewidth=1, zorder=1)
        styles = cycle(product(_STYLES, COLORS))
        for name, (style, color) in zip(self.values, styles, strict=False):
            for axis, curves in ((of_loss, self.values), (of_weight, self.weights)):
                axis.plot(self.p, curves[name], style, color=color, label=name)
        for axis in axes:
            axis.set(xlabel="Probability of the true class, p", xlim=(0, 1))
            axis.grid(alpha=0.3)
        top = max(np.max(v) for v in self.values.values())
        of_loss.set(ylabel="Loss, l(p)", ylim=(0, min(1.05 * top, 5)))
        low = min(float(np.min(w[w > 0], initial=1.0)) for w in self.weights.values())
        of_weight.set(ylabel="Weight, w(p) = −dl/dp", yscale="log")
        of_weight.set_ylim(max(0.5 * low, 1e-3), 200)
        of_loss.legend(frameon=False)
        self.axes_ = np.asarray(axes)
        self.figure_ = of_loss.figure
        return self


def loss_curves(
    losses: TrueClassLoss | Sequence[TrueClassLoss] | Mapping[str, TrueClassLoss],
    p: Any | None = None,
    axes: Any = None,
) -> LossCurvesDisplay:
    """Draws losses and their weights as functions of the true class's probability.

    Args:
        losses: a loss, a list of losses, or losses by name. Without one, a loss is
            shown under its own name.
        p: the probabilities to draw at; by default 400 from 0.001 to 0.999.
        axes: two matplotlib axes; a new figure by default.

    Returns:
        A `LossCurvesDisplay`, drawn.

    Raises:
        ValueError: as `LossCurvesDisplay`, and if two losses have the same name.

    Example:

    >>> import keras_calib
    >>> losses = {f"gamma {g}": keras_calib.GammaCE(g) for g in (0.0, 0.1, 1.0)}
    >>> figure = keras_calib.viz.loss_curves(losses).figure_
    """
    if not isinstance(losses, Mapping):
        several: list[Any] = (
            list(losses) if isinstance(losses, list | tuple) else [losses]
        )
        names = [getattr(loss, "name", repr(loss)) for loss in several]
        if len(set(names)) < len(names):
            raise ValueError(
                "`losses` must have different names; pass a dictionary to give them "
                f"some. Received: {names}"
            )
        losses = dict(zip(names, several, strict=True))
    return LossCurvesDisplay(losses, p).plot(axes)
