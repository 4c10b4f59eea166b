"""Independent labels: each label of each sample is a binary problem."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from keras_calib.evaluation.batches import Batch
from keras_calib.evaluation.settings import Settings
from keras_calib.evaluation.sums import Sums
from keras_calib.metrics import ClasswiseECE, MultilabelECE
from keras_calib.ops.binary_batch import BinaryBatch
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.floats import in_float64, in_numpy


class MultilabelSums(Sums):
    """Sums over the labels of all samples together, and over the bins of each label.

    Args:
        settings: how samples are read and what is measured.
    """

    _every, _other = MultilabelECE, ClasswiseECE

    def __init__(self, settings: Settings) -> None:
        super().__init__(replace(settings, axis=-1, ignore_class=None))
        self._axis, self._ignore_class = settings.axis, settings.ignore_class

    def read(self, samples: Batch) -> ClassBatch:
        """Returns a chunk as it is read, one sample for each label."""
        return self._apart(samples, self._labels(samples))

    @in_float64
    def add(self, samples: Batch) -> ClassBatch:
        """Adds a chunk, and returns it as it was read, one sample for each label."""
        labels = self._labels(samples)
        self.num_labels = labels.num_labels
        if MultilabelECE in self.metrics:
            self.metrics[MultilabelECE].accumulate(labels)
        return self._add(self._apart(samples, labels))

    @in_float64
    def _labels(self, samples: Batch) -> BinaryBatch:
        return BinaryBatch(
            samples.y_true,
            samples.y_pred,
            samples.sample_weight,
            from_logits=samples.from_logits,
            ignore_class=self._ignore_class,
            axis=self._axis,
            dtype="float64",
        )

    def _apart(self, samples: Batch, labels: BinaryBatch) -> ClassBatch:
        # The scores keep their dtype, which says where the edges of bins are.
        p, y, weight = samples.y_pred, in_numpy(labels.targets), labels.sample_weight
        p = np.moveaxis(p, self._axis, -1) if p.ndim > 1 else p
        if weight is not None:
            weight = in_numpy(weight).reshape(len(y), -1)
            weight = np.broadcast_to(weight, y.shape).ravel()
        return super().read(Batch(y.ravel(), p.ravel(), weight, samples.from_logits))


def sums_of(settings: Settings) -> Sums:
    """Returns the sums that the settings ask for."""
    return MultilabelSums(settings) if settings.multilabel else Sums(settings)
