"""Is this fit going well? Six questions, each answered with figures."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_calib.callbacks.held_out import batches, binned_metric, readable_again
from keras_calib.callbacks.logit_gradient import (
    gradient_bound,
    is_one_of,
    logit_gradient,
)
from keras_calib.callbacks.verdicts import (
    NOT_CHECKED,
    OK,
    WARNING,
    Rows,
    Verdict,
    of_calibration,
    of_gradient,
    of_likelihood,
    of_loss,
    verdict,
)
from keras_calib.losses.base import CalibrationLoss, ClassLoss
from keras_calib.losses.gamma import GammaCE
from keras_calib.losses.gamma_presets import starting_weight
from keras_calib.metrics import (
    BinStatistics,
    CalibrationMetrics,
    ExpectedCalibrationError,
    NegativeLogLikelihood,
)
from keras_calib.ops import check

_OF_SEVERAL_LABELS = (
    keras.losses.BinaryCrossentropy,
    keras.losses.BinaryFocalCrossentropy,
    keras.losses.binary_crossentropy,
    keras.losses.binary_focal_crossentropy,
)


class TrainingChecklist(keras.callbacks.Callback):
    """Looks after a fit, and reports what is wrong with it.

    Six questions, each answered by `"ok"`, `"warning"` or `"not checked"`, a
    sentence and figures:

    - `labels`: do labels, predictions and `from_logits` fit each other? (`check`)
    - `gamma`: is gamma small enough beside 1/K to start learning?
    - `gradient`: does the gradient in each logit keep the loss's bound, for
      gamma-cross-entropy 1 / (1 + sqrt(gamma))^2?
    - `loss`: is the training loss finite, and did it fall? While gamma moves, losses
      cannot be compared, and `likelihood` says more.
    - `likelihood`: when was the held-out negative log-likelihood least?
    - `calibration`: is the held-out calibration error more than 2 %, beyond what
      chance explains? In which direction?

    What cannot wait (labels, gamma, NaN) is warned of at once; the rest is printed
    at the end. Nothing runs in the training step, and nothing is traced again: what
    an epoch costs is one eager prediction of `data`, and the gradient on its first
    batch.

    Args:
        data: held-out `(x, y)`, `(x, y, sample_weight)`, or an iterable of such
            batches: a `tf.data.Dataset`, a `keras.utils.PyDataset`, a list. Without
            it `labels`, `gradient` and `likelihood` are not checked, `gamma` is for
            a model that knows nothing, and `calibration` is read off an
            `ExpectedCalibrationError` among the model's metrics, after validation.
        from_logits: whether the model gives logits; by default what its loss says.
        batch_size: samples of `data` that are predicted at once.
        verbose: 1 prints the report when training ends, 0 is silent.

    Put it last in the list of callbacks, so that it sees gamma as the first step
    does.

    Raises:
        ValueError: for `data` that can be read once only.

    Example:

    >>> import keras
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(64, 3)), rng.integers(0, 3, 64)
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    >>> model.compile("sgd", keras_calib.GammaCE(0.1, from_logits=True))
    >>> checklist = keras_calib.callbacks.TrainingChecklist((x, y), verbose=0)
    >>> history = model.fit(x, y, epochs=2, verbose=0, callbacks=[checklist])
    >>> {name: c["verdict"] for name, c in checklist.report()["checks"].items()}
    ... # doctest: +ELLIPSIS
    {'labels': 'ok', 'gamma': 'ok', 'gradient': 'ok', 'loss': 'ok', ...}
    """

    def __init__(
        self,
        data: Any = None,
        *,
        from_logits: bool | None = None,
        batch_size: int = 256,
        verbose: int = 1,
    ) -> None:
        super().__init__()
        self.data = readable_again(data)
        self.from_logits = from_logits
        self.batch_size = batch_size
        self.verbose = verbose
        self.on_train_begin()

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Starts a new report."""
        self._epochs: list[dict[str, Any]] = []
        self._checks: dict[str, Verdict] = {}
        self._bins: BinStatistics | None = None
        self._unread = "" if self.data is not None else "no held-out data was given"

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Looks at labels and gamma before the first step."""
        if self._epochs:
            return
        # Only by now has a schedule set what the first step sees.
        self._epochs.append({"epoch": 0, **self._look()})
        for name in ("labels", "gamma"):
            if name in self._checks and self._checks[name]["verdict"] == WARNING:
                self._warn(self._checks[name]["text"])

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Measures the epoch."""
        logs = logs or {}
        loss = float(logs["loss"]) if "loss" in logs else None
        was_finite = all(_finite(row.get("loss", 0.0)) for row in self._epochs)
        if loss is not None and was_finite and not _finite(loss):
            self._warn(f"the loss is {loss} in epoch {epoch + 1}")
        validated = any(name.startswith("val_") for name in logs)
        row = self._look(validated=validated)
        self._epochs.append({"epoch": epoch + 1, "loss": loss, **row})

    def on_train_end(self, logs: dict | None = None) -> None:
        """Prints the report."""
        if self.verbose:
            print(self.summary())

    def report(self) -> dict[str, Any]:
        """Returns what was found, as plain Python for JSON.

        Returns:
            `checks`: verdict, text and figures by name. `epochs`: a row an epoch of
            what was measured, epoch 0 before the first step; what was not finite is
            `None`. `bins`: the last `BinStatistics` as a dict, or `None`.
        """
        checks = {
            "labels": self._checks.get("labels", self._not_checked()),
            "gamma": self._checks.get("gamma", self._not_checked()),
            "gradient": self._of_held_out(of_gradient),
            "loss": of_loss(self._epochs, self._hyperparameters()),
            "likelihood": self._of_held_out(of_likelihood),
            "calibration": self._calibration(),
        }
        bins = None if self._bins is None else self._bins.to_dict()
        return _plain({"checks": checks, "epochs": self._epochs, "bins": bins})

    def summary(self) -> str:
        """Returns the report as text, a line a check."""
        lines = [f"Training checklist, {max(len(self._epochs) - 1, 0)} epochs"]
        for name, found in self.report()["checks"].items():
            lines.append(f"  {found['verdict']:<11}  {name:<11}  {found['text']}")
        return "\n".join(lines)

    def _look(self, validated: bool = False) -> dict[str, Any]:
        """Returns a row of figures, and sets what is found once."""
        loss = _only_loss(self.model)
        row = {}
        if isinstance(loss, CalibrationLoss):
            row = {name: float(h) for name, h in loss.hyperparameters.items()}
        if "gamma" not in self._checks and "labels" not in self._checks:
            self._start(loss)
        if not self._unread:
            row |= self._measure(loss)
        elif validated and (metric := binned_metric(self.model)) is not None:
            self._bins = metric.statistics()
        return row

    def _start(self, loss: Any) -> None:
        """Checks labels and gamma; says why data cannot be read, if so."""
        if loss is None:
            self._unread = self._unread or "the model has several losses, or none"
        elif not _of_one_label(loss):
            self._unread = self._unread or f"{_name(loss)} is not of one label of K"
        elif self._takes_logits(loss) is None:
            self._unread = self._unread or (
                f"{_name(loss)} does not say whether it takes logits: give from_logits"
            )
        if not isinstance(loss, GammaCE):
            self._checks["gamma"] = verdict(NOT_CHECKED, "no loss GammaCE")
        if self._unread:
            if isinstance(loss, GammaCE):
                self._check_gamma_of_no_knowledge(loss)
            return
        caught: list[str] = []
        for x, y, *_ in batches(self.data, self.batch_size):
            y_pred = self.model(x, training=False)
            try:
                with warnings.catch_warnings(record=True) as raised:
                    warnings.simplefilter("always")
                    check(
                        y,
                        y_pred,
                        bool(self._takes_logits(loss)),
                        ignore_class=getattr(loss, "ignore_class", None),
                        **_gamma(loss),
                    )
            except ValueError as error:
                self._checks["labels"] = verdict(WARNING, str(error))
                self._unread = "see labels"
                return
            caught += [str(w.message) for w in raised if w.category is UserWarning]
        kind = "logits" if self._takes_logits(loss) else "probabilities"
        self._checks["labels"] = verdict(
            OK, f"labels fit {y_pred.shape[-1]} classes; predictions are {kind}"
        )
        if isinstance(loss, GammaCE):
            text = f"gamma = {float(loss.gamma):g} leaves samples their weight"
            self._checks["gamma"] = (
                verdict(WARNING, caught[0]) if caught else verdict(OK, text)
            )

    def _check_gamma_of_no_knowledge(self, loss: GammaCE) -> None:
        shape = getattr(self.model, "output_shape", None) or (None,)
        if not isinstance(shape[-1], int):
            text = "the number of classes is not known without held-out data"
            self._checks["gamma"] = verdict(NOT_CHECKED, text)
            return
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always")
            weight = starting_weight(**_gamma(loss), num_classes=shape[-1])
        caught = [str(w.message) for w in raised if w.category is UserWarning]
        text = f"at p = 1/{shape[-1]} a sample weighs {weight:.2g}"
        self._checks["gamma"] = (
            verdict(WARNING, caught[0]) if caught else verdict(OK, text)
        )

    def _measure(self, loss: Any) -> dict[str, Any]:
        """Returns the figures of the held-out data."""
        error, likelihood = ExpectedCalibrationError(), NegativeLogLikelihood()
        from_logits = bool(self._takes_logits(loss))
        metrics = CalibrationMetrics(
            [error, likelihood],
            from_logits=from_logits,
            ignore_class=getattr(loss, "ignore_class", None),
        )
        row: dict[str, Any] = {}
        for x, y, *weight in batches(self.data, self.batch_size):
            y_pred = self.model(x, training=False)
            if not row:
                gradient = logit_gradient(loss, y, y_pred, from_logits)
                if gradient is not None:
                    row["gradient"] = float(np.abs(gradient).max())
                row["gradient_bound"] = gradient_bound(loss, y_pred.shape[-1])
            metrics.update_state(y, y_pred, *weight)
        bins = error.statistics()
        if not bins.total:
            self._unread = "no held-out sample counts"
            return row
        self._bins = bins
        nll = float(ops.convert_to_numpy(likelihood.result()))
        return row | {
            "negative_log_likelihood": nll,
            "ece": bins.ece(),
            "gap": bins.gap(),
            "accuracy": float(bins.hits.sum() / bins.total),
        }

    def _of_held_out(self, judge: Callable[[Rows], Verdict]) -> Verdict:
        unknown = self._unread or not self._epochs
        return self._not_checked() if unknown else judge(self._epochs)

    def _calibration(self) -> Verdict:
        if self._bins is not None:
            return of_calibration(self._bins)
        text = self._unread or "no epoch ended"
        if self.data is None:
            text += ", nor was ExpectedCalibrationError validated"
        return verdict(NOT_CHECKED, text)

    def _hyperparameters(self) -> list[str]:
        loss = _only_loss(self.model) if self._epochs else None
        return list(loss.hyperparameters) if isinstance(loss, CalibrationLoss) else []

    def _not_checked(self) -> Verdict:
        return verdict(NOT_CHECKED, self._unread or "no step was taken")

    def _takes_logits(self, loss: Any) -> bool | None:
        if self.from_logits is not None:
            return self.from_logits
        if isinstance(loss, keras.losses.Loss):
            return getattr(loss, "from_logits", None)
        # A function, as keras.losses.get finds it by name.
        parameter = inspect.signature(loss).parameters.get("from_logits")
        return None if parameter is None else parameter.default

    def _warn(self, text: str) -> None:
        warnings.warn(f"TrainingChecklist: {text}", stacklevel=3)


def _only_loss(model: keras.Model) -> Any:
    """Returns the model's loss, or `None` where it has several or none."""
    given = [loss for loss in keras.tree.flatten(model.loss) if loss is not None]
    return keras.losses.get(given[0]) if len(given) == 1 else None


def _of_one_label(loss: Any) -> bool:
    if isinstance(loss, CalibrationLoss):
        return isinstance(loss, ClassLoss)
    return not is_one_of(loss, _OF_SEVERAL_LABELS)


def _name(loss: Any) -> str:
    return getattr(loss, "__name__", type(loss).__name__)


def _gamma(loss: Any) -> dict[str, float]:
    if not isinstance(loss, GammaCE):
        return {}
    return {"gamma": float(loss.gamma), "floor": loss.floor}


def _finite(x: float | None) -> bool:
    return x is None or math.isfinite(x)


def _plain(x: Any) -> Any:
    """Returns what strict JSON can hold."""
    if isinstance(x, dict):
        return {key: _plain(value) for key, value in x.items()}
    if isinstance(x, list):
        return [_plain(value) for value in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x
