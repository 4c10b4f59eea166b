"""Histogram binning."""

from typing import Unpack

import numpy as np
from keras import ops

from keras_calib.activations import sigmoid
from keras_calib.arguments import one_of, saveable, whole_number
from keras_calib.calibrators.base import CalibratorArguments
from keras_calib.calibrators.steps import (
    Steps,
    bounded,
    count_below,
    log_odds_of,
    look_up,
)
from keras_calib.ops.calibration import Binning
from keras_calib.types import Array, Tensor

__all__ = ["HistogramBinning"]


@saveable
class HistogramBinning(Steps):
    """The rate of each class's labels in bins of its probability.

    Formula, for the bin m of p:

    ```
    p' = sum_{n in m} w_n y_n / sum_{n in m} w_n
    ```

    An empty bin gives its midpoint. Rates are clipped to
    [1 / (N + 2), 1 - 1 / (N + 2)] because N samples cannot show a rarer event. With
    more than two classes the results are divided by their sum, and the argmax may
    change.

    Args:
        num_bins: the number of bins.
        binning: `"equal_width"`, or `"equal_mass"` for equally many samples in each
            bin, a sample of weight w counting as w samples.

    Raises:
        ValueError: for fewer than two bins, and for an unknown binning.

    Example:

    >>> import keras_calib
    >>> p = np.array([[0.1], [0.2], [0.6], [0.7], [0.8], [0.9]])
    >>> calibrator = keras_calib.calibrators.HistogramBinning(2, from_logits=False)
    >>> calibrator = calibrator.fit(p, [0, 1, 0, 1, 1, 1])
    >>> [round(float(c), 3) for c in calibrator(p)[:, 0]]
    [0.5, 0.5, 0.75, 0.75, 0.75, 0.75]

    Reference:

    - Zadrozny, Elkan, "Obtaining calibrated probability estimates from decision
      trees and naive Bayesian classifiers", ICML 2001.
    """

    def __init__(
        self,
        num_bins: int = 15,
        binning: Binning = "equal_width",
        **kwargs: Unpack[CalibratorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.num_bins = whole_number("num_bins", num_bins, low=2)
        self.binning = one_of("binning", binning, Binning)

    def weight_shapes(self, num_classes: int) -> dict[str, tuple[int, ...]]:
        """Returns the inner edges, as log-odds, and the rates."""
        maps = self.num_maps(num_classes)
        return {"edges": (maps, self.num_bins - 1), "rates": (maps, self.num_bins)}

    def fit_class(self, d: Array, target: Array, weight: Array) -> tuple[Array, ...]:
        """Computes the edges and the rate in each bin."""
        share = np.arange(1, self.num_bins) / self.num_bins
        equal_width = self.binning == "equal_width"
        edges = log_odds_of(share) if equal_width else _cuts(d, weight, share)
        outer = np.r_[0.0, sigmoid(edges), 1.0]
        # Rounding must not move a value on an edge to the bin below it.
        edges = edges - 1e-6 * np.maximum(1.0, np.abs(edges))
        index = np.searchsorted(edges, d, side="right")
        mass = np.bincount(index, weight, self.num_bins)
        hits = np.bincount(index, weight * target, self.num_bins)
        middle = (outer[1:] + outer[:-1]) / 2
        rates = np.divide(hits, mass, out=middle, where=mass > 0)
        return edges, bounded(rates, weight)

    def map(self, d: Tensor, edges: Tensor, rates: Tensor) -> Tensor:
        """Returns the rate of the bin."""
        rate = look_up(rates, count_below(edges, d))
        return ops.where(ops.isnan(d), d, log_odds_of(rate))


def _cuts(d: Array, weight: Array, share: Array) -> Array:
    """Returns the values that have these shares of the weight below them."""
    order = np.argsort(d)
    ranks = np.cumsum(weight[order]) / np.sum(weight)
    # Halfway between two samples if a cut falls between them, up to rounding.
    low, high = (d[order[np.searchsorted(ranks, share + e)]] for e in (-1e-9, 1e-9))
    cuts: Array = (low + high) / 2
    return cuts
