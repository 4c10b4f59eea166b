"""What is kept of the samples, and the figures computed from it."""

from __future__ import annotations

from typing import Any

from keras_calib.evaluation.answer import Evaluation
from keras_calib.evaluation.batches import Batch
from keras_calib.evaluation.confidences import Confidences
from keras_calib.evaluation.figures import (
    ENSEMBLE,
    FIGURES,
    LABEL_1,
    computed,
    error_bounds,
)
from keras_calib.evaluation.settings import Settings
from keras_calib.evaluation.top_label import TopLabelBatch
from keras_calib.metrics import (
    BinStatistics,
    CalibrationMetric,
)
from keras_calib.ops.arrays import require_any
from keras_calib.ops.binary_batch import is_one_probability, two_classes
from keras_calib.ops.class_batch import ClassBatch
from keras_calib.ops.events import Events
from keras_calib.ops.floats import in_float64


class Sums:
    """Sums over samples, in float64.

    Args:
        settings: how samples are read and what is measured.
    """

    @in_float64
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.coverage, self.num_bins = settings.coverage, settings.num_bins
        self.num_classes = 0
        self._sound = True
        self.top = Confidences(settings.num_bins, settings.exact)
        self.label_1 = Confidences(settings.num_bins, settings.exact)
        sources = dict.fromkeys(figure.source for figure in FIGURES)
        self.metrics = {
            source: self._made(source)
            for source in sources
            if isinstance(source, type) and not settings.top_label_only
        }

    def _made(self, metric: Any) -> CalibrationMetric:
        of_bins = "num_bins" in metric.__signature__.parameters
        bins = {"num_bins": self.num_bins} if of_bins else {}
        made: CalibrationMetric = metric(**bins, dtype="float64")
        return made

    @in_float64
    def add(self, samples: Batch) -> ClassBatch:
        """Adds a chunk, and returns it as it was read."""
        settings = self.settings
        y_true, y_pred = samples.y_true, samples.y_pred
        if is_one_probability(y_pred, settings.axis):
            y_true, y_pred = two_classes(
                y_true, y_pred, samples.from_logits, settings.axis
            )
        reader = TopLabelBatch if settings.top_label_only else ClassBatch
        batch = reader(
            y_true,
            y_pred,
            samples.sample_weight,
            from_logits=samples.from_logits,
            ignore_class=settings.ignore_class,
            axis=settings.axis,
            dtype=None if settings.top_label_only else "float64",
        )
        self.num_classes = batch.num_classes
        self._sound = self._sound and (settings.validate or bool(batch.sound))
        for metric in self.metrics.values():
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
        figures = computed(self, groups)
        exact = self.top.exact
        return Evaluation(
            figures,
            self.statistics,
            self.top.fine_statistics,
            n=self.top.n,
            num_classes=self.num_classes,
            coverage=self.coverage,
            exact=exact,
            error_bounds={} if exact else error_bounds(self, figures),
        )
