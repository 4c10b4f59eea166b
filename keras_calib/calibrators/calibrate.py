"""From a trained model to a calibrated one."""

from typing import Any

import keras
import numpy as np

from keras_calib.arguments import one_of, whole_number
from keras_calib.calibrators.base import MIN_PROBABILITY, Calibrator
from keras_calib.calibrators.batches import batches_of
from keras_calib.calibrators.cross_validation import cross_validate
from keras_calib.calibrators.head import read_head
from keras_calib.calibrators.methods import METHODS, Method, candidates
from keras_calib.calibrators.objectives import ece, log_softmax, nll, softmax
from keras_calib.calibrators.reading import as_logits
from keras_calib.calibrators.report import CalibrationReport
from keras_calib.calibrators.samples import Samples
from keras_calib.calibrators.temperature import TemperatureScaling
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
    verbose: int = 1,
) -> keras.Model:
    """Returns a model that gives calibrated probabilities.

    The new model is the old one, unchanged and with its weights shared, and a
    calibrator on top. Fit it on samples that the model was not trained on. For a
    model that ends in a softmax or a sigmoid, the calibrator reads the logits behind
    it. JAX does not keep them, and the calibrator takes the logarithm instead.

    Args:
        model: a model with one output: logits or probabilities of shape `(..., K)`,
            or `(..., 1)` of a single sigmoid.
        x: inputs as arrays, or batches `(x, y)` or `(x, y, sample_weight)`: a
            `tf.data.Dataset`, a `keras.utils.PyDataset` or another finite iterable.
        y: labels, where `x` are arrays: integers of shape `(...)` or `(..., 1)`, or
            one-hot or soft targets of shape `(..., K)`.
        method: `"temperature"`, `"vector"`, `"matrix"`, `"dirichlet"`, `"platt"`,
            `"beta"`, `"isotonic"`, `"histogram"`, `"noise"`, or a calibrator.
            `"auto"` takes the one with the smallest cross-validated negative
            log-likelihood. It tries matrices up to 30 classes, and a temperature of
            1 if nothing improves on the model.
        sample_weight: weights of shape `(...)` or of its leading axes.
        from_logits: whether the model gives logits. By default the model is taken to
            give probabilities if it ends in a softmax or sigmoid, or if its outputs
            are in [0, 1] and sum to 1.
        ignore_class: integer label whose samples are left out.
        batch_size: samples in a batch, where `x` are arrays.
        folds: number of folds of the cross-validation of `"auto"`.
        seed: seed of the shuffle before the cross-validation.
        verbose: 1 shows a progress bar and the report, 0 nothing.

    Returns:
        A `keras.Model`. Its last layer is the calibrator, and its
        `calibration_report` a `CalibrationReport`.

    Raises:
        ValueError: for an unknown method, a model with several outputs, endless data,
            labels or outputs that do not fit, NaN, and fewer than two samples or
            classes.

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
    if ignore_class is not None:
        ignore_class = whole_number("ignore_class", ignore_class, low=-np.inf)
    batch_size = whole_number("batch_size", batch_size)
    folds = whole_number("folds", folds, low=2)
    seed = whole_number("seed", seed, low=0)
    own = method if isinstance(method, Calibrator) else None
    if own is None:
        one_of("method", method, Method)
    elif ignore_class is None:
        ignore_class = own.ignore_class
    head = read_head(model, *batches_of(x, y, sample_weight, batch_size), verbose)
    probabilities = head.gives_probabilities(from_logits)
    stated = own.from_logits if own else from_logits
    if stated is not None and stated == probabilities:
        raise ValueError(
            f"The model gives {'probabilities' if probabilities else 'logits'}. "
            f"Received: from_logits={stated}"
        )
    z, labels = as_logits(
        head.scores,
        head.labels,
        head.has_logits or not probabilities,
        own.min_probability if own else MIN_PROBABILITY,
    )
    z = log_softmax(z) if head.has_logits else z
    samples = Samples.read(z, labels, head.weight, ignore_class)
    held_out: dict[str, float] = {}
    name = type(own).__name__ if own else method
    if method == "auto":
        tried = candidates(samples.num_classes)
        held_out = {
            "uncalibrated": nll(samples),
            **cross_validate(tried, samples, folds, seed, verbose),
        }
        name = min(held_out, key=held_out.__getitem__)
    if name == "uncalibrated":
        calibrator: Calibrator = TemperatureScaling(from_logits=not probabilities)
        calibrator.build((None, samples.num_classes))
        calibrator.set_weights([np.ones(())])
    else:
        calibrator = own or METHODS[name](from_logits=not probabilities)
        calibrator.fit_samples(samples)
    inputs = _inputs(model, head.example)
    calibrated = keras.Model(
        inputs, calibrator(model(inputs)), name=f"calibrated_{model.name}"
    )
    after = calibrator.probabilities
    report = CalibrationReport(
        name,
        before={"nll": nll(samples), "ece": ece(samples, softmax)},
        after={"nll": nll(samples, after), "ece": ece(samples, after)},
        held_out=held_out,
    )
    calibrated.calibration_report = report
    if verbose:
        print(report)
    return calibrated


def _inputs(model: keras.Model, example: Any) -> Any:
    """Returns fresh inputs of the model's names, shapes and dtypes."""
    # A sequential model has no `input`, and its `inputs` only where it is built.
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
