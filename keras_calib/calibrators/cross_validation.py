"""The figures of a calibrator on samples that it is not fitted to."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from keras_calib.calibrators.base import Calibrator
from keras_calib.calibrators.objectives import figures
from keras_calib.calibrators.samples import Samples


def cross_validate(
    make: Callable[[], Calibrator], samples: Samples, folds: int, seed: int
) -> dict[str, float]:
    """Returns the figures of predictions by calibrators of the other folds.

    Args:
        make: makes a calibrator.
        samples: logits and labels.
        folds: number of parts that the samples are divided into, at most their number.
        seed: seed of the shuffle before the division.
    """
    fold = np.random.default_rng(seed).permutation(len(samples)) % folds
    p = np.empty(samples.logits.shape, "float32")
    for i in range(min(folds, len(samples))):
        test = fold == i
        calibrator = make().fit_samples(samples[~test])
        p[test] = calibrator.probabilities(samples.logits[test])
    return figures(replace(samples, logits=p), lambda p: p)
