"""The figures of an evaluation, one row each: name, group, what is better, formula."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple, TypeAlias

from keras_calib.evaluation.predicted_classes import PredictedClasses
from keras_calib.evaluation.refinement import RefinementOfArrays
from keras_calib.metrics import (
    BrierScore,
    ClasswiseECE,
    MultilabelECE,
    NegativeLogLikelihood,
    PredictiveEntropy,
    TopKCalibrationError,
)
from keras_calib.metrics.collection import results_by_name
from keras_calib.ops import order_bounds as bounds, ranked

# What a figure is computed from: a metric, or a function of the sums.
Source: TypeAlias = Callable[..., Any]

ACCURACY, CALIBRATION, LABEL_1, TOP_K, SCORES, SELECTIVE, ENSEMBLE = (
    "accuracy",
    "calibration",
    "calibration of label 1",
    "the k most probable classes",
    "proper scores",
    "selective prediction",
    "ensemble",
)


class Figure(NamedTuple):
    """A figure of an evaluation.

    Args:
        name: its key.
        group: the heading that it stands under.
        better: `"higher"`, `"lower"`, `"nearer 0"`, or `""` if none is.
        source: a metric with a result of that name, or a function of `Sums`; of
            `EnsembleSums` for those of an ensemble.
        note: its norm, its unit, or what it is.
        interval: a function of the same that gives the ends of its 95 % interval.
        bound: a function of the same that says how far fine bins may move it.
    """

    name: str
    group: str
    better: str
    source: Source
    note: str = ""
    interval: Callable[[Any], tuple[float, float]] | None = None
    bound: Callable[[Any], float] | None = None


FIGURES = (
    Figure(
        "accuracy",
        ACCURACY,
        "higher",
        lambda s: ranked.accuracy_at_coverage(s.top.cells, 1.0),
    ),
    Figure(
        "ece",
        CALIBRATION,
        "lower",
        lambda s: s.statistics.ece(),
        "l1",
        lambda s: s.statistics.ece_interval(),
    ),
    Figure("ece_l2", CALIBRATION, "lower", lambda s: s.statistics.ece("l2"), "l2"),
    Figure(
        "ece_l2_debiased",
        CALIBRATION,
        "lower",
        lambda s: s.statistics.debiased_ece(),
        "l2 without sampling noise",
    ),
    Figure(
        "maximum_calibration_error",
        CALIBRATION,
        "lower",
        lambda s: s.statistics.ece("max"),
        "the largest gap of a bin",
    ),
    Figure(
        "equal_mass_ece",
        CALIBRATION,
        "lower",
        lambda s: s.equal_mass(s.top).ece(),
        "l1",
        bound=lambda s: bounds.equal_mass_bound(s.top.cells, s.top.edges, s.num_bins),
    ),
    Figure(
        "equal_mass_ece_l2_debiased",
        CALIBRATION,
        "lower",
        lambda s: s.equal_mass(s.top).debiased_ece(),
        "l2 without sampling noise",
    ),
    Figure("smooth_ece", CALIBRATION, "lower", lambda s: s.top.smooth_ece, "no bins"),
    Figure(
        "ks_calibration_error",
        CALIBRATION,
        "lower",
        lambda s: ranked.ks_error(s.top.cells),
        "no bins",
        bound=lambda s: bounds.ks_bound(s.top.cells, s.top.edges),
    ),
    Figure(
        "calibration_gap",
        CALIBRATION,
        "nearer 0",
        lambda s: s.statistics.gap(),
        "positive is overconfident",
    ),
    Figure(
        "overconfidence",
        CALIBRATION,
        "lower",
        lambda s: s.statistics.overconfidence(),
        "this part of ece",
    ),
    Figure(
        "underconfidence",
        CALIBRATION,
        "lower",
        lambda s: s.statistics.underconfidence(),
        "this part of ece",
    ),
    Figure("classwise_ece", CALIBRATION, "lower", ClasswiseECE, "l1, of every class"),
    Figure(
        "multilabel_ece",
        CALIBRATION,
        "lower",
        MultilabelECE,
        "l1, mean over the labels",
    ),
    Figure("binary_ece", LABEL_1, "lower", lambda s: s.label_1.bins.ece(), "l1"),
    Figure(
        "binary_equal_mass_ece",
        LABEL_1,
        "lower",
        lambda s: s.equal_mass(s.label_1).ece(),
        "l1",
        bound=lambda s: bounds.equal_mass_bound(
            s.label_1.cells, s.label_1.edges, s.num_bins
        ),
    ),
    Figure(
        "binary_smooth_ece", LABEL_1, "lower", lambda s: s.label_1.smooth_ece, "no bins"
    ),
    Figure(
        "binary_ks_calibration_error",
        LABEL_1,
        "lower",
        lambda s: ranked.ks_error(s.label_1.cells),
        "no bins",
        bound=lambda s: bounds.ks_bound(s.label_1.cells, s.label_1.edges),
    ),
    Figure(
        "binary_aurc",
        LABEL_1,
        "lower",
        lambda s: ranked.area_under_risk_coverage(s.label_1.cells),
        "label 0 among the most probable",
        bound=lambda s: bounds.aurc_bound(s.label_1.cells),
    ),
    Figure(
        "top_k_accuracy", TOP_K, "higher", lambda s: s.top_k.hits.sum() / s.top_k.total
    ),
    Figure("top_k_calibration_error", TOP_K, "lower", TopKCalibrationError, "l1"),
    Figure("negative_log_likelihood", SCORES, "lower", NegativeLogLikelihood, "nats"),
    Figure(
        "refinement_loss", SCORES, "lower", RefinementOfArrays, "nats, at the best T"
    ),
    Figure("brier_score", SCORES, "lower", BrierScore),
    Figure("brier_reliability", SCORES, "lower", PredictedClasses, "miscalibration"),
    Figure("brier_resolution", SCORES, "higher", PredictedClasses, "discrimination"),
    Figure("brier_uncertainty", SCORES, "", PredictedClasses, "of the labels alone"),
    Figure("brier_within_variance", SCORES, "", PredictedClasses),
    Figure("brier_within_covariance", SCORES, "higher", PredictedClasses),
    Figure("predictive_entropy", SCORES, "", PredictiveEntropy, "nats"),
    Figure(
        "aurc",
        SELECTIVE,
        "lower",
        lambda s: ranked.area_under_risk_coverage(s.top.cells),
        "area under risk-coverage curve",
        bound=lambda s: bounds.aurc_bound(s.top.cells),
    ),
    Figure(
        "accuracy_at_coverage",
        SELECTIVE,
        "higher",
        lambda s: ranked.accuracy_at_coverage(s.top.cells, s.coverage),
        "of the most confident samples",
        bound=lambda s: bounds.accuracy_bound(s.top.cells, s.coverage),
    ),
    Figure(
        "mutual_information",
        ENSEMBLE,
        "",
        lambda s: s.mutual_information,
        "nats between label and member",
    ),
    Figure(
        "disagreement",
        ENSEMBLE,
        "",
        lambda s: s.disagreement,
        "pairs of members that predict different classes",
    ),
)


def computed(sums: Any, groups: Collection[str]) -> dict[str, float]:
    """Returns the figures of some groups, and the ends of their intervals, by name."""
    results = results_by_name(sums.metrics.values())
    found = {}
    for figure in FIGURES:
        name, source = figure.name, figure.source
        unknown = isinstance(source, type) and source not in sums.metrics
        if figure.group not in groups or unknown:
            continue
        found[name] = float(results[name] if name in results else source(sums))
        if figure.interval:
            ends = figure.interval(sums)
            found[f"{name}_low"], found[f"{name}_high"] = map(float, ends)
    return found


def error_bounds(sums: Any, names: Collection[str]) -> dict[str, float]:
    """Returns how far fine bins may have moved the figures of these names."""
    return {f.name: f.bound(sums) for f in FIGURES if f.bound and f.name in names}
