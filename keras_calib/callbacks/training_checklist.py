"""A report on a fit: seven questions, each answered with figures."""

import math
import warnings
from typing import Any

from keras_calib.arguments import counted, one_of, whole_number
from keras_calib.callbacks import consistency, first_look, loss_facts, verdicts
from keras_calib.callbacks.held_out import batches, binned_metric, readable_again
from keras_calib.callbacks.held_out_figures import held_out_figures
from keras_calib.callbacks.linked import hyperparameters
from keras_calib.callbacks.logs import Logs, SeesValidation
from keras_calib.callbacks.verdicts import Rows, Verdict, not_checked, warning
from keras_calib.losses.gamma import GammaCE
from keras_calib.metrics import BinStatistics

__all__ = ["TrainingChecklist"]


class TrainingChecklist(SeesValidation):
    """Monitors a fit, and reports what is wrong with it.

    It answers seven questions, each with `"ok"`, `"warning"` or `"not checked"`, a
    sentence and figures:

    - `labels`: are labels, predictions and `from_logits` consistent? (`check`, and
      without data the activation of the last layer)
    - `metrics`: does every compiled metric read predictions as the loss does, with
      the same `from_logits`, `ignore_class` and `axis`, of classes or of binary labels?
    - `gamma`: is gamma small enough beside 1/K to start learning?
    - `gradient`: is the gradient with respect to each logit within the loss's bound,
      for gamma-cross-entropy 1 / (1 + sqrt(gamma))^2?
    - `loss`: is the training loss finite, and did it fall? While gamma changes, losses
      cannot be compared; look at `likelihood`.
    - `likelihood`: when was the held-out negative log-likelihood lowest?
    - `calibration`: is the held-out calibration error significantly above 2 %, and
      in which direction?

    It warns about labels, metrics, gamma and NaN immediately, and prints the rest at
    the end. Nothing runs in the training step and nothing is retraced: an epoch costs
    one eager prediction of `data`, and the gradient on its first batch.

    Put it last in the list of callbacks, so that it sees the gamma of the first step.

    Args:
        data: held-out `(x, y)`, `(x, y, sample_weight)`, or an iterable of such
            batches: a `tf.data.Dataset`, a `keras.utils.PyDataset`, a list. Without
            it `labels`, `gradient` and `likelihood` are not checked, `gamma` is
            checked for probabilities of 1/K, and `calibration` is read, after
            validation, from an `ExpectedCalibrationError` among the model's metrics.
        from_logits: whether the model outputs logits; by default as its loss.
        batch_size: samples of `data` that are predicted at once.
        verbose: 1 prints the report when training ends, 0 is silent.

    Raises:
        ValueError: if `data` can be read only once, or an argument is out of range.

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
    {'labels': 'ok', 'metrics': 'not checked', 'gamma': 'ok', 'gradient': 'ok', ...}
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
        self.batch_size = whole_number("batch_size", batch_size)
        self.verbose = one_of("verbose", verbose, (0, 1))
        self.on_train_begin()

    def on_train_begin(self, logs: Logs = None) -> None:
        """Starts a new report."""
        self._epochs: Rows = []
        self._checks: dict[str, Verdict] = {}
        self._bins: BinStatistics | None = None
        self._unread = "" if self.data is not None else "no held-out data was given"
        self._loss: Any = None

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Checks labels and gamma before the first step."""
        if self._epochs:
            return
        # Not earlier: schedules have just set the values of the first step.
        self._first_look()
        self._epochs.append({"epoch": 0, **self._figures()})
        self._warn_of(*self._checks)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Compares the metrics with the loss; a loaded model makes them in a step."""
        if "metrics" not in self._checks:
            found = consistency.of_metrics(self.model, self.from_logits)
            self._checks["metrics"] = found
            self._warn_of("metrics")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Measures the epoch."""
        loss = float(logs["loss"]) if logs and "loss" in logs else None
        was_finite = all(_finite(row.get("loss")) for row in self._epochs)
        if was_finite and not _finite(loss):
            self._warn(f"the loss is {loss} in epoch {epoch + 1}")
        metric = binned_metric(self.model.metrics)
        if self._unread and self._validated and metric is not None:
            self._bins = metric.statistics()
        self._epochs.append({"epoch": epoch + 1, "loss": loss, **self._figures()})

    def on_train_end(self, logs: Logs = None) -> None:
        """Prints the report."""
        if self.verbose:
            print(self.summary())

    def report(self) -> dict[str, Any]:
        """Returns the findings, as plain Python for JSON.

        Returns:
            `checks`: verdict, text and figures by name. `epochs`: one row of figures
            for each epoch, epoch 0 being before the first step; a figure that is not
            finite is `None`. `bins`: the last `BinStatistics` as a dict, or `None`.
        """
        why = self._unread or ("" if self._epochs else "no step was taken")
        unread = not_checked(why) if why else None
        checks = {
            "labels": self._checks.get("labels") or unread,
            "metrics": self._checks.get("metrics") or not_checked("no step was taken"),
            "gamma": self._checks.get("gamma") or unread,
            "gradient": unread or verdicts.of_gradient(self._epochs),
            "loss": verdicts.of_loss(self._epochs, list(hyperparameters(self._loss))),
            "likelihood": unread or verdicts.of_likelihood(self._epochs),
            "calibration": self._calibration(),
        }
        bins = None if self._bins is None else self._bins.to_dict()
        found: dict[str, Any] = {"checks": checks, "epochs": self._epochs, "bins": bins}
        return {key: _plain(value) for key, value in found.items()}

    def summary(self) -> str:
        """Returns the report as text, one line for each check."""
        epochs = counted(max(len(self._epochs) - 1, 0), "epoch")
        lines = [f"Training checklist, {epochs}"]
        for name, found in self.report()["checks"].items():
            lines.append(f"  {found['verdict']:<11}  {name:<11}  {found['text']}")
        return "\n".join(lines)

    def _first_look(self) -> None:
        """Sets the verdicts on labels and gamma, and why data cannot be read."""
        loss = self._loss = loss_facts.only_loss(self.model)
        self._reading = loss_facts.reading(loss, self.from_logits)
        logits = self._reading["from_logits"]
        self._unread = self._unread or loss_facts.why_unreadable(loss, logits)
        if not isinstance(loss, GammaCE):
            self._checks["gamma"] = not_checked("the loss is not a GammaCE")
        elif self._unread:
            self._checks["gamma"] = first_look.of_gamma(self.model, loss)
        if not self._unread:
            data = batches(self.data, self.batch_size)
            self._checks |= first_look.of_data(self.model, loss, self._reading, data)
            if self._checks["labels"]["verdict"] == "warning":
                self._unread = "see labels"
        contradiction = consistency.of_heads(self.model, self.from_logits)
        if contradiction and self._unread != "see labels":
            self._checks["labels"] = warning(contradiction)
            self._unread = self._unread or "see labels"

    def _figures(self) -> dict[str, Any]:
        """Returns the figures of the model as it is now."""
        moving = hyperparameters(self._loss).items()
        figures: dict[str, Any] = {name: float(held) for name, held in moving}
        if self._unread:
            return figures
        data = batches(self.data, self.batch_size)
        reading = self._loss, self._reading
        measured, bins = held_out_figures(self.model, *reading, data)
        if bins.total:
            self._bins = bins
        else:
            self._unread = "no held-out sample counts"
        return figures | measured

    def _calibration(self) -> Verdict:
        if self._bins is not None:
            return verdicts.of_calibration(self._bins)
        text = self._unread or "no epoch ended"
        if self.data is None:
            text += ", nor was an ExpectedCalibrationError validated"
        return not_checked(text)

    def _warn_of(self, *names: str) -> None:
        for name in names:
            if self._checks[name]["verdict"] == "warning":
                self._warn(self._checks[name]["text"])

    def _warn(self, text: str) -> None:
        warnings.warn(f"TrainingChecklist: {text}", stacklevel=3)


def _finite(x: float | None) -> bool:
    return x is None or math.isfinite(x)


def _plain(x: Any) -> Any:
    """Returns `x` with `None` for what strict JSON cannot hold."""
    if isinstance(x, dict):
        return {key: _plain(value) for key, value in x.items()}
    if isinstance(x, list):
        return [_plain(value) for value in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x
