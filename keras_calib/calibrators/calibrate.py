"""From a trained model to a calibrated one."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_calib.activations import softmax
from keras_calib.arguments import boolean, label, one_of, unless_none, whole_number
from keras_calib.calibrators.base import MIN_PROBABILITY, Calibrator
from keras_calib.calibrators.calibrated_model import CalibratedModel
from keras_calib.calibrators.cross_validation import cross_validate
from keras_calib.calibrators.head import HeadReader
from keras_calib.calibrators.methods import METHODS, Method, candidates
from keras_calib.calibrators.objectives import figures, top_label
from keras_calib.calibrators.report import CalibrationReport, as_arguments
from keras_calib.calibrators.samples import Samples
from keras_calib.calibrators.temperature import TemperatureScaling, log_temperature
from keras_calib.metrics.model_data import batches_of
from keras_calib.ops.floats import dtype_name

__all__ = ["calibrate"]


def calibrate(
    model: keras.Model,
    x: Any,
    y: Any = None,
    method: Method | Calibrator = "temperature",
    *,
    sample_weight: Any = None,
    from_logits: bool | None = None,
    ignore_class: int | None = None,
    batch_size: int = 256,
    folds: int = 5,
    seed: int = 0,
    test: Any = None,
    verbose: int = 1,
) -> keras.Model:
    """Returns a model that gives calibrated probabilities.

    The new model is the old one with a calibrator on top; the old one stays as it is,
    and the two share its weights. Fit it on samples that the model was not trained on.
    For a model that ends in a softmax or a sigmoid, the calibrator reads the logits
    behind it. On JAX these are not kept, and the calibrator takes the logarithms of
    the probabilities instead.

    Args:
        model: a model with one output: logits or probabilities of shape `(..., K)`,
            or `(..., 1)` of a single sigmoid.
        x: inputs as arrays, or batches `(x, y)` or `(x, y, sample_weight)`: a
            `tf.data.Dataset`, a `keras.utils.PyDataset` or another finite iterable.
        y: labels, if `x` are arrays: integers of shape `(...)` or `(..., 1)`, or
            one-hot or soft targets of shape `(..., K)`.
        method: `"temperature"`, `"ensemble_temperature"`, `"structured_vector"`,
            `"structured_matrix"`, `"vector"`, `"matrix"`, `"dirichlet"`, `"platt"`,
            `"quadratic"`, `"beta"`, `"isotonic"`, `"histogram"`, `"noise"`, or a
            calibrator.
            `"auto"` picks the one with the smallest cross-validated negative
            log-likelihood. It tries matrices for up to 30 classes only, and sets a
            temperature of 1 if nothing improves on the model.
        sample_weight: weights of shape `(...)` or of its leading axes.
        from_logits: whether the model gives logits. By default the model is taken to
            give probabilities if it ends in a softmax or sigmoid, or if its outputs
            are in [0, 1] and sum to 1.
        ignore_class: integer label whose samples are left out.
        batch_size: samples in a batch, if `x` are arrays.
        folds: number of folds of the cross-validation, which gives the report's figures
            on samples that the method was not fitted to. Each fold costs one more fit:
            together a fraction of a second for a temperature, and two seconds for
            `"vector"` on 5000 samples of 100 classes. Calling a calibrator's own `fit`
            skips it.
        seed: seed of the shuffle before the cross-validation.
        test: other samples, for the report alone: `(x, y)`, `(x, y, sample_weight)` or
            batches.
        verbose: 1 shows a progress bar and the report, 0 nothing.

    Returns:
        A `keras.Model`. Its last layer is the calibrator, whose `report` is a
        `CalibrationReport` that is saved with the model. The same report is the
        model's `calibration_report`.

    Raises:
        ValueError: for an unknown method, a model with several outputs, endless data,
            labels or outputs that do not fit, NaN, sigmoids of several labels, and
            fewer than two samples or classes.

    Warns:
        UserWarning: if the samples look like those that the model was trained on.

    Example:

    >>> import keras
    >>> import keras_calib
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 3))
    >>> y = (x + rng.gumbel(size=x.shape)).argmax(-1)
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Rescaling(5.0)])
    >>> calibrated = keras_calib.calibrate(model, x, y, verbose=0)
    >>> calibrated.predict(x, verbose=0).shape
    (200, 3)
    >>> 4 < calibrated.layers[-1].temperature < 6
    True
    """
    from_logits = unless_none(boolean, "from_logits", from_logits)
    ignore_class = label("ignore_class", ignore_class)
    batch_size = whole_number("batch_size", batch_size)
    folds = whole_number("folds", folds, low=2)
    seed = whole_number("seed", seed, low=0)
    own = method if isinstance(method, Calibrator) else None
    if own is None:
        one_of("method", method, Method)
    elif ignore_class is None:
        ignore_class = own.ignore_class
    reader = HeadReader(model)
    head = reader.read(*batches_of(x, y, sample_weight, batch_size), verbose)
    stated = own.from_logits if own else None
    from_logits = head.gives_logits(stated if from_logits is None else from_logits)
    if stated not in (None, from_logits):
        raise ValueError(
            f"The model gives {'logits' if from_logits else 'probabilities'}. "
            f"Received: a calibrator with from_logits={stated}"
        )
    least = own.min_probability if own else MIN_PROBABILITY
    samples = head.samples(from_logits, ignore_class, least)
    before, bins = figures(samples)
    _warn_of_training_data(samples)
    makers = _makers(own or method, samples.num_classes)
    auto = method == "auto"
    found = {"uncalibrated": (before, bins)} if auto else {}
    bar = keras.utils.Progbar(len(makers), verbose=verbose * auto, unit_name="method")
    for name, make in makers.items():
        found[name] = cross_validate(make, samples, folds, seed)
        bar.add(1)
    name = min(found, key=lambda name: found[name][0]["nll"])
    if name == "uncalibrated":
        calibrator: Calibrator = TemperatureScaling(from_logits=from_logits)
        calibrator.build((None, samples.num_classes))
        calibrator.set_weights([np.ones(())])
    else:
        calibrator = own or makers[name]()
        calibrator.from_logits = from_logits
        calibrator.fit_samples(samples)
    inputs = _inputs(model, head.example)
    calibrated = CalibratedModel(
        inputs, calibrator(model(inputs)), name=f"calibrated_{model.name}"
    )
    cross_validated, bins_after = found[name]
    report = CalibrationReport(
        name,
        before=before,
        after=figures(samples, calibrator.probabilities)[0],
        held_out={k: each["nll"] for k, (each, _) in found.items()} if auto else {},
        cross_validated=cross_validated,
        bins={
            "before": as_arguments(bins),
            "cross-validated": as_arguments(bins_after),
        },
    )
    if test is not None:
        data = test if isinstance(test, tuple) else (test,)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        batches = batches_of(x, y, sample_weight, batch_size)
        unseen = reader.read(*batches, verbose)
        unseen_samples = unseen.samples(from_logits, ignore_class, least)
        report = _tested(report, unseen_samples, calibrator)
    calibrator.report = report
    if verbose:
        print(report)
    return calibrated


def _tested(
    report: CalibrationReport, samples: Samples, calibrator: Calibrator
) -> CalibrationReport:
    """Returns a report with the figures of test samples, and their bins."""
    before, bins = figures(samples)
    after, bins_after = figures(samples, calibrator.probabilities)
    found = {"before, test": bins, "calibrated, test": bins_after}
    return replace(
        report,
        test_before=before,
        test_after=after,
        bins={title: as_arguments(each) for title, each in found.items()},
    )


def _makers(
    method: Method | Calibrator, num_classes: int
) -> Mapping[str, Callable[[], Calibrator]]:
    """Returns functions that make the calibrators to try, by name."""
    if method == "auto":
        return candidates(num_classes)
    if not isinstance(method, Calibrator):
        return {method: METHODS[method]}
    config = method.get_config()
    config.pop("num_knots", None)  # a fold may need more than the whole fit
    return {type(method).__name__: lambda: type(method).from_config(config)}


def _warn_of_training_data(samples: Samples) -> None:
    """Warns if the model is always right or underconfident, as on training data."""
    top = top_label(samples, softmax)
    accuracy, gap = top.hits.sum() / top.total, top.gap()
    error = np.sqrt(accuracy * (1 - accuracy) / len(samples))
    # Near an accuracy of 1 a gap cannot be large, and T < 1 is rare on new samples.
    sharper = accuracy > 0.99 and log_temperature(samples) < 0
    if accuracy == 1 or gap < -max(0.0 if sharper else 0.02, 3 * error):
        warnings.warn(
            "The samples look like training data: on them the model is right in "
            f"{accuracy:.1%} of cases, with a mean confidence of {accuracy + gap:.1%}. "
            "A calibrator must be fitted to samples that the model was not trained "
            "on, or it makes new predictions worse, whatever the report says. (A model "
            "trained with smoothed labels is underconfident on new samples, too)",
            stacklevel=3,
        )


def _inputs(model: keras.Model, example: Any) -> Any:
    """Returns new inputs with the names, shapes and dtypes of the model's."""
    # A sequential model has no `input`, and has `inputs` only once it is built.
    known = getattr(model, "inputs", None)
    if not known:
        return keras.tree.map_structure(
            lambda a: keras.Input(a.shape[1:], dtype=dtype_name(a)), example
        )
    return keras.tree.map_structure(
        lambda t: keras.Input(
            batch_shape=t.shape, dtype=t.dtype, name=t.name, sparse=t.sparse
        ),
        known[0] if isinstance(model, keras.Sequential) else model.input,
    )
