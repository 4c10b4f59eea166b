"""From a trained model to a calibrated one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.src.backend import get_keras_mask  # an attribute, or on JAX a global

from keras_calib.arguments import one_of, whole_number
from keras_calib.calibrators.base import MIN_PROBABILITY, Calibrator
from keras_calib.calibrators.beta import BetaCalibration
from keras_calib.calibrators.histogram import HistogramBinning
from keras_calib.calibrators.isotonic import IsotonicCalibration
from keras_calib.calibrators.linear import (
    DirichletCalibration,
    MatrixScaling,
    VectorScaling,
)
from keras_calib.calibrators.noise import NoiseCorrection
from keras_calib.calibrators.platt import PlattScaling
from keras_calib.calibrators.samples import (
    RowFunction,
    Samples,
    as_logits,
    flat,
    log_softmax,
    sample_weights,
    softmax,
)
from keras_calib.calibrators.temperature import TemperatureScaling
from keras_calib.ops.floats import dtype_name

METHODS: dict[str, Callable[..., Calibrator]] = {
    "temperature": TemperatureScaling,
    "vector": VectorScaling,
    "matrix": MatrixScaling,
    "dirichlet": DirichletCalibration,
    "platt": PlattScaling,
    "beta": BetaCalibration,
    "isotonic": IsotonicCalibration,
    "histogram": HistogramBinning,
    "noise": NoiseCorrection,
}

# Matrices of more classes than this are left out of method="auto".
MANY_CLASSES = 30


@dataclass(frozen=True)
class CalibrationReport:
    """What calibration did.

    Args:
        method: the method taken.
        before: `"nll"` and `"ece"` (top-label, 15 equal bins) of the model.
        after: the same once calibrated, on the samples it was fitted to.
        held_out: where the method was chosen, the cross-validated mean negative
            log-likelihood of each candidate, and of the model as it was under
            `"uncalibrated"`.
    """

    method: str
    before: dict[str, float]
    after: dict[str, float]
    held_out: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{'':<22}{'NLL':>10}{'ECE':>10}"]
        for name, values in (("before", self.before), (self.method, self.after)):
            lines.append(f"{name:<22}{values['nll']:>10.5f}{values['ece']:>10.5f}")
        if self.held_out:
            lines.append(f"\n{'held-out NLL':<22}")
            for name, nll in sorted(self.held_out.items(), key=lambda item: item[1]):
                lines.append(f"{name:<22}{nll:>10.5f}")
        return "\n".join(lines)


def calibrate(
    model: keras.Model,
    x: Any,
    y: Any = None,
    method: str | Calibrator = "temperature",
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
    calibrator on top. Fit it on samples that the model was not trained on. Where
    the model ends in a softmax or a sigmoid, the calibrator reads the logits
    before it; on JAX, where no trace of them is left, it takes the logarithm.

    Args:
        model: a model with one output: logits or probabilities of shape
            `(..., K)`, or `(..., 1)` of one sigmoid.
        x: inputs as arrays, or batches `(x, y)` or `(x, y, sample_weight)`: a
            `tf.data.Dataset`, a `keras.utils.PyDataset` or another finite iterable.
        y: labels, where `x` are arrays: integers of shape `(...)` or `(..., 1)`, or
            one-hot or soft targets of shape `(..., K)`.
        method: `"temperature"`, `"vector"`, `"matrix"`, `"dirichlet"`, `"platt"`,
            `"beta"`, `"isotonic"`, `"histogram"`, `"noise"`, or a calibrator of
            your own making. `"auto"` takes the one of least cross-validated
            negative log-likelihood; matrices are tried up to 30 classes, and where
            nothing beats the model as it is, its temperature is 1.
        sample_weight: weights of shape `(...)` or of its leading axes.
        from_logits: whether the model gives logits. By default what its softmax or
            sigmoid tells, and else whether its outputs are no probabilities.
        ignore_class: integer label whose samples count for nothing.
        batch_size: samples in a batch, where `x` are arrays.
        folds: parts of the cross-validation, for `method="auto"`.
        seed: seed of the shuffle before it.
        verbose: 1 shows a progress bar and the report, 0 nothing.

    Returns:
        A `keras.Model`. Its `calibration_report` says what was gained; the
        calibrator is its last layer.

    Raises:
        ValueError: for an unknown method, a model of several outputs, endless data,
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
    own = method if isinstance(method, Calibrator) else None
    if own is None:
        one_of("method", method, (*METHODS, "auto"))
    elif ignore_class is None:
        ignore_class = own.ignore_class
    head = HeadReader(model)
    batches, count = _batches(x, y, sample_weight, batch_size)
    scores, labels, weight, example = head.collect(batches, count, verbose)
    # Logits of several classes do not sum to 1 by chance; one may be in [0, 1].
    judge = from_logits is None or (from_logits and scores.shape[-1] > 1)
    probabilities = head.traced or (
        _look_like_probabilities(scores) if judge else not from_logits
    )
    stated = own.from_logits if own else from_logits
    if stated is not None and stated == probabilities:
        raise ValueError(
            f"The model gives {'probabilities' if probabilities else 'logits'}. "
            f"Received: from_logits={stated}"
        )
    # What a softmax or sigmoid was traced back to are logits already.
    scores, labels = as_logits(
        scores,
        labels,
        head.traced or not probabilities,
        own.min_probability if own else MIN_PROBABILITY,
    )
    if head.traced:
        scores = log_softmax(scores)
    samples = Samples.read(scores, labels, weight, ignore_class)
    held_out = {}
    if method == "auto":
        held_out = _cross_validate(samples, folds, seed, verbose)
        method = min(held_out, key=held_out.__getitem__)
    if method == "uncalibrated":
        calibrator = TemperatureScaling(from_logits=not probabilities)
        calibrator.build((None, samples.num_classes))
        calibrator.set_weights([np.ones(())])
    else:
        calibrator = own or METHODS[method](from_logits=not probabilities)
        calibrator.fit_samples(samples)
    inputs = _inputs(model, example)
    calibrated = keras.Model(
        inputs, calibrator(model(inputs)), name=f"calibrated_{model.name}"
    )
    report = CalibrationReport(
        type(own).__name__ if own else method,
        before={"nll": samples.nll(), "ece": samples.ece(softmax)},
        after={
            "nll": samples.nll(_log(calibrator.probabilities)),
            "ece": samples.ece(calibrator.probabilities),
        },
        held_out=held_out,
    )
    calibrated.calibration_report = report
    if verbose:
        print(report)
    return calibrated


class HeadReader(keras.Model):
    """What a model gives before its softmax or sigmoid, if it ends in one."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.model = model
        self.traced = False

    def call(self, inputs: Any) -> dict[str, Any]:
        """Returns scores, and the mask where there is one."""
        y = self.model(inputs, training=False)
        if not ops.is_tensor(y):
            raise ValueError(
                "calibrate needs a model of one output. Received: "
                f"{keras.tree.map_structure(lambda t: tuple(t.shape), y)}"
            )
        traced = getattr(y, "_keras_logits", None)
        self.traced = traced is not None
        mask = get_keras_mask(y)
        found = {"scores": ops.cast(y if traced is None else traced, "float32")}
        return found if mask is None else {**found, "mask": mask}

    def collect(
        self, batches: Iterator, count: int | None, verbose: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, Any]:
        """Returns scores, labels, weights, flat, and an example of the inputs."""
        bar = keras.utils.Progbar(count, verbose=verbose, unit_name="batch")
        found, x = [], None
        for i, (x, y, weight) in enumerate(batches):
            if y is None:
                raise ValueError("calibrate needs labels: pass y, or batches (x, y)")
            # In a strategy's scope each replica is given all of the batch.
            size = len(keras.tree.flatten(x)[0])
            out = {k: v[:size] for k, v in self.predict_on_batch(x).items()}
            scores = out["scores"]
            weight = sample_weights(weight, scores.shape[:-1])
            if "mask" in out:
                weight = weight * sample_weights(out["mask"], scores.shape[:-1])
            y = np.asarray(ops.convert_to_numpy(y))
            found.append(flat(scores, y, weight.reshape(scores.shape[:-1])))
            bar.update(i + 1, finalize=i + 1 == count)
        if not found:
            raise ValueError("calibrate needs samples. Received: no batch")
        scores, y, weight = map(np.concatenate, zip(*found, strict=True))
        return scores, y, weight, x


def _log(probabilities: RowFunction) -> RowFunction:
    # A float64 has no smaller positive number.
    return lambda z: np.log(np.maximum(probabilities(z), 5e-324))


def _look_like_probabilities(scores: np.ndarray) -> bool:
    if not (scores.min() >= 0 and scores.max() <= 1 + 1e-3):
        return False
    one_sigmoid = scores.shape[-1] == 1
    return one_sigmoid or bool(np.allclose(scores.sum(-1), 1, atol=1e-2))


def _cross_validate(
    samples: Samples, folds: int, seed: int, verbose: int
) -> dict[str, float]:
    """Returns the held-out mean negative log-likelihood of each candidate."""
    fold = np.random.default_rng(seed).permutation(len(samples)) % folds
    candidates = {
        name: make
        for name, make in METHODS.items()
        if samples.num_classes <= MANY_CLASSES or name not in ("matrix", "dirichlet")
    }
    bar = keras.utils.Progbar(folds * len(candidates), verbose=verbose, unit_name="fit")
    found = dict.fromkeys(candidates, 0.0)
    for i in range(folds):
        # Shares of the weight, that the folds add up to the mean over all samples.
        share = samples.weight[fold == i].sum()
        train, test = samples[fold != i], samples[fold == i]
        for name, make in candidates.items():
            calibrator = make(dtype="float64").fit_samples(train)
            found[name] += share * test.nll(_log(calibrator.probabilities))
            bar.add(1)
    return {"uncalibrated": samples.nll(), **found}


def _batches(
    x: Any, y: Any, sample_weight: Any, batch_size: int
) -> tuple[Iterator, int | None]:
    """Returns batches (x, y, sample_weight) and their number, where it is known."""
    if isinstance(x, keras.utils.PyDataset):
        if (count := x.num_batches) is None:
            raise ValueError("calibrate needs finite data. Received: endless batches")
        return (_batch(x[i]) for i in range(count)), count
    if y is None and hasattr(x, "cardinality"):
        count = int(x.cardinality())
        if count == -1:
            raise ValueError(
                "calibrate needs finite data. Received: an endless dataset; use "
                "dataset.take(batches)"
            )
        return map(_batch, x), count if count >= 0 else None
    if y is None:
        if isinstance(x, np.ndarray | dict) or ops.is_tensor(x):
            raise ValueError("calibrate needs labels: pass y beside x")
        return map(_batch, x), None
    arrays = keras.tree.map_structure(_array, (x, y, sample_weight))
    sizes = {len(a) for a in keras.tree.flatten(arrays) if a is not None}
    if len(sizes) != 1:
        raise ValueError(
            f"x, y and sample_weight must be of one length. Received: {sorted(sizes)}"
        )
    (size,) = sizes
    starts = range(0, size, batch_size)

    def part(start):
        rows = slice(start, start + batch_size)
        return keras.tree.map_structure(lambda a: a if a is None else a[rows], arrays)

    return map(part, starts), len(starts)


def _batch(data: Any) -> tuple[Any, Any, Any]:
    """Returns x, y and sample_weight, as arrays of this backend or of numpy."""
    arrays = keras.tree.map_structure(_array, data)
    return keras.utils.unpack_x_y_sample_weight(arrays)


def _array(x: Any) -> Any:
    return x if x is None or ops.is_tensor(x) else np.asarray(x)


def _inputs(model: keras.Model, example: Any) -> Any:
    """Returns fresh inputs of the model's names, shapes and dtypes."""
    if isinstance(model, keras.Sequential) and model.built and model.inputs:
        known = model.inputs[0]
    elif getattr(model, "inputs", None):
        known = model.input
    else:
        known = None
    if known is None:
        return keras.tree.map_structure(
            lambda a: keras.Input(a.shape[1:], dtype=dtype_name(a)), example
        )
    return keras.tree.map_structure(
        lambda t: keras.Input(
            batch_shape=t.shape, dtype=t.dtype, name=t.name, sparse=t.sparse
        ),
        known,
    )
