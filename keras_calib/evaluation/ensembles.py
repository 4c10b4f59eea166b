"""The predictions of an ensemble, pooled, and those of its members."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from keras_calib.evaluation.answer import Evaluation
from keras_calib.evaluation.batches import Batch
from keras_calib.evaluation.figures import ENSEMBLE, computed
from keras_calib.evaluation.multilabel import sums_of
from keras_calib.evaluation.pooling import pooled
from keras_calib.evaluation.settings import Settings
from keras_calib.evaluation.sums import Sums
from keras_calib.metrics import CalibrationMetric
from keras_calib.ops.arrays import require
from keras_calib.ops.binary_batch import is_one_probability
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.floats import in_float64, in_numpy


class EnsembleSums:
    """Sums of the pooled predictions, of each member's, and of how they differ.

    Args:
        settings: how samples are read and what is measured.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool = sums_of(settings)
        self._members: list[Sums] = []
        # The weight, and the sums of mutual information and of disagreement.
        self._spread = np.zeros(3)
        self.metrics: dict[type, CalibrationMetric] = {}

    def add(self, samples: Batch) -> None:
        """Adds a chunk, whose predictions are of shape `(N, M, ...)`."""
        members = members_of(samples)
        if not self._members:
            require(
                len(members) > 1,
                "an ensemble needs at least 2 members",
                f"{len(members)}",
            )
            self._members = [sums_of(self._settings) for _ in members]
        axis = self._settings.axis
        one = self._settings.multilabel or is_one_probability(members[0].y_pred, axis)
        mean = pooled(
            samples.y_pred,
            from_logits=samples.from_logits,
            one=one,
            axis=axis,
        )
        pool = self._pool.add(replace(samples, y_pred=mean))
        pairs = zip(self._members, members, strict=True)
        self._spread += _spread(pool, [sums.add(member) for sums, member in pairs])

    def evaluation(self) -> Evaluation:
        """Returns the figures of the pooled predictions, and those of the members."""
        found = self._pool.evaluation()
        found.update(computed(self, {ENSEMBLE}))
        found.members = [sums.evaluation() for sums in self._members]
        return found

    @property
    def mutual_information(self) -> float:
        """Entropy of the pooled prediction minus the members' mean entropy, in nats."""
        return float(self._spread[1] / self._spread[0])

    @property
    def disagreement(self) -> float:
        """The fraction of pairs of members that predict different classes."""
        return float(self._spread[2] / self._spread[0])


def members_of(samples: Batch) -> list[Batch]:
    """Returns a chunk of each member."""
    count = samples.y_pred.shape[1]
    return [replace(samples, y_pred=samples.y_pred[:, m]) for m in range(count)]


@in_float64
def _spread(pool: ClassBatch, members: list[ClassBatch]) -> np.ndarray:
    """Returns the weight, and the sums of mutual information and disagreement."""
    entropy, *own = (in_numpy(batch.entropy) for batch in (pool, *members))
    classes = np.stack([in_numpy(batch.predicted) for batch in members])
    count = len(members)
    agree = np.zeros(len(entropy))
    for i in range(1, count):
        agree += 2.0 * (classes[i:] == classes[:-i]).sum(0)
    values = np.stack(
        [
            np.ones_like(entropy),
            entropy - np.mean(own, axis=0),
            1.0 - agree / (count * (count - 1)),
        ]
    )
    weight = pool.sample_weight
    if weight is None:
        return np.asarray(values.sum(-1))
    weight = in_numpy(weight)
    return np.asarray(np.where(weight != 0, weight * values, 0.0).sum(-1))
