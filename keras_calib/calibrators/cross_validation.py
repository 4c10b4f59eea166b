"""The figures of a calibrator on samples that it is not fitted to."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from keras_calib.calibrators.base import Calibrator
from keras_calib.calibrators.objectives import figures
from keras_calib.calibrators.samples import Samples
from keras_calib.metrics import BinStatistics
from keras_calib.types import Array


def cross_validate(
    make: Callable[[], Calibrator], samples: Samples, folds: int, seed: int
) -> tuple[dict[str, float], BinStatistics]:
    """Returns figures and bins of predictions by calibrators fitted to other folds.

    Args:
        make: makes a calibrator.
        samples: logits and labels.
        folds: number of parts that the samples are divided into, at most their number.
        seed: seed of the shuffle before the division.
    """
    p = np.empty(samples.logits.shape, "float32")
    for test in folds_of(samples, folds, seed):
        calibrator = make().fit_samples(samples[~test])
        p[test] = calibrator.probabilities(samples.logits[test])
    return figures(replace(samples, logits=p), lambda p: p)


def folds_of(samples: Samples, folds: int, seed: int) -> Iterator[Array]:
    """Yields for each fold which samples are in it, after a shuffle."""
    fold = np.random.default_rng(seed).permutation(len(samples)) % folds
    for i in range(min(folds, len(samples))):
        yield fold == i
