"""What is kept of the samples, and the figures computed from it."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_calib.evaluation.answer import Evaluation
from keras_calib.evaluation.batches import Batch
from keras_calib.evaluation.confidences import Confidences
from keras_calib.evaluation.figures import (
    ENSEMBLE,
    FIGURES,
    LABEL_1,
    TOP_K,
    computed,
    error_bounds,
)
from keras_calib.evaluation.settings import Settings
from keras_calib.evaluation.top_label import TopLabelBatch
from keras_calib.metrics import (
    BinStatistics,
    CalibrationMetric,
    ClasswiseECE,
    MultilabelECE,
    TopKCalibrationError,
)
from keras_calib.ops.arrays import require_any
from keras_calib.ops.binary_batch import is_one_probability, two_classes
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.events import Events
from keras_calib.ops.floats import in_float64, in_numpy


class Sums:
    """Sums over samples, in float64.

    Args:
        settings: how samples are read and what is measured.
    """

    # The metric over every class, and the one that does not apply here.
    _every: Any = ClasswiseECE
    _other: Any = MultilabelECE

    @in_float64
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.coverage, self.num_bins = settings.coverage, settings.num_bins
        self.num_classes = self.num_labels = 0
        self._sound = True
        self.top = Confidences(settings.num_bins, settings.exact)
        self.label_1 = Confidences(settings.num_bins, settings.exact)
        unasked = (
            {self._other} if settings.top_k else {self._other, TopKCalibrationError}
        )
        sources = dict.fromkeys(figure.source for figure in FIGURES)
        self.metrics: dict[Any, Any] = {
            source: self._made(source)
            for source in sources
            if isinstance(source, type) and not settings.top_label_only
            if source not in unasked
        }

    def _made(self, metric: Any) -> CalibrationMetric:
        settings = {"num_bins": self.num_bins, "k": self.settings.top_k}
        taken = settings.keys() & metric.__signature__.parameters.keys()
        arguments = {name: settings[name] for name in taken}
        made: CalibrationMetric = metric(**arguments, dtype="float64")
        return made

    @in_float64
    def read(self, samples: Batch) -> ClassBatch:
        """Returns a chunk as it is read."""
        settings = self.settings
        y_true, y_pred = samples.y_true, samples.y_pred
        if is_one_probability(y_pred, settings.axis):
            y_true, y_pred = two_classes(
                y_true, y_pred, samples.from_logits, settings.axis
            )
        reader = TopLabelBatch if settings.top_label_only else ClassBatch
        return reader(
            y_true,
            y_pred,
            samples.sample_weight,
            from_logits=samples.from_logits,
            ignore_class=settings.ignore_class,
            axis=settings.axis,
            dtype=None if settings.top_label_only else "float64",
        )

    def add(self, samples: Batch) -> ClassBatch:
        """Adds a chunk, and returns it as it was read."""
        return self._add(self.read(samples))

    @in_float64
    def _add(self, batch: ClassBatch) -> ClassBatch:
        settings = self.settings
        self.num_classes = batch.num_classes
        self._sound = self._sound and (settings.validate or bool(batch.sound))
        for kind, metric in self.metrics.items():
            if kind is not MultilabelECE:  # which reads a sample's labels together
                metric.accumulate(batch)
        self.top.add(batch.top_label)
        if self.num_classes == 2 and not settings.top_label_only:
            p, y = batch.probabilities[:, 1], batch.happened[:, 1]
            weight, precision = batch.sample_weight, batch.precision
            self.label_1.add(Events(p, y, weight, precision=precision))
        return batch

    @property
    def statistics(self) -> BinStatistics:
        """The sums of the top label over equal-width bins."""
        return self.top.bins

    @property
    def top_k(self) -> BinStatistics:
        """The sums of the k most probable classes together."""
        found: BinStatistics = self.metrics[TopKCalibrationError].statistics()
        return found

    def equal_mass(self, confidences: Confidences) -> BinStatistics:
        """Returns the sums over bins that hold the same weight."""
        return confidences.statistics.equal_mass(self.num_bins)

    @in_float64
    def evaluation(self) -> Evaluation:
        """Returns the figures."""
        if self.settings.validate:
            require_any(self.statistics.total)
        if not self._sound or not self.statistics.total > 0:
            self.top.spoil()
            self.label_1.spoil()
        groups = {figure.group for figure in FIGURES} - {ENSEMBLE}
        if self.num_classes != 2 or self.settings.top_label_only:
            groups -= {LABEL_1}
        if not self.settings.top_k:
            groups -= {TOP_K}
        figures = computed(self, groups)
        exact = self.top.exact
        return Evaluation(
            figures,
            self.statistics,
            self.top.fine_statistics,
            n=self.top.n,
            num_classes=self.num_classes,
            num_labels=self.num_labels,
            class_sums=self._class_sums(),
            coverage=self.coverage,
            exact=exact,
            error_bounds={} if exact else error_bounds(self, figures),
        )

    def _class_sums(self) -> list[np.ndarray]:
        """Returns the four sums of every class over the bins, each of shape (K, M)."""
        metric = self.metrics.get(self._every)
        return [] if metric is None else [in_numpy(x) for x in metric.cells()]
