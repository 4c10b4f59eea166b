"""What the figures of a fit, a row an epoch, say of it."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import keras

from keras_calib.metrics import BinStatistics

OK, WARNING, NOT_CHECKED = "ok", "warning", "not checked"
# An error of calibration that lies above this for certain is worth a warning.
_TOLERATED_ERROR = 0.02

Verdict: TypeAlias = dict[str, Any]
Rows: TypeAlias = list[dict[str, Any]]


def verdict(kind: str, text: str, **figures: Any) -> Verdict:
    """Returns a verdict, its sentence and its figures."""
    return {"verdict": kind, "text": text, **figures}


def of_gradient(rows: Rows) -> Verdict:
    """Holds the largest gradient in a logit against the loss's bound."""
    rows = [row for row in rows if row.get("gradient") is not None]
    if not rows:
        backend = keras.backend.backend()
        return verdict(NOT_CHECKED, f"no gradient could be taken on {backend}")
    for row in rows:
        if not math.isfinite(row["gradient"]):
            text = f"NaN or infinite after epoch {row['epoch']}"
            return verdict(WARNING, text, epoch=row["epoch"])
    if rows[0]["gradient_bound"] is None:
        largest = max(row["gradient"] for row in rows)
        text = f"at most {largest:.3g} in a logit; this loss has no bound on record"
        return verdict(NOT_CHECKED, text, largest=largest)
    worst = max(rows, key=lambda row: row["gradient"] / row["gradient_bound"])
    largest, bound = worst["gradient"], worst["gradient_bound"]
    within = largest <= bound * (1 + 1e-5)
    text = f"{largest:.3g} in a logit, the bound being {bound:.3g}"
    if not within:
        text += ": the loss's value or weight is not what its class says"
    return verdict(OK if within else WARNING, text, largest=largest, bound=bound)


def of_loss(rows: Rows, hyperparameters: list[str]) -> Verdict:
    """Asks whether the training loss fell, where its losses can be compared."""
    losses = [row["loss"] for row in rows if row.get("loss") is not None]
    if not losses:
        return verdict(NOT_CHECKED, "no epoch ended with a loss")
    for epoch, loss in enumerate(losses, 1):
        if not math.isfinite(loss):
            return verdict(WARNING, f"{loss} in epoch {epoch}", epoch=epoch)
    if len(losses) == 1:
        return verdict(NOT_CHECKED, "one epoch has nothing to be compared with")
    values = {name: [row[name] for row in rows] for name in hyperparameters}
    moved = [
        f"{name} moved from {of_epochs[0]:g} to {of_epochs[-1]:g}"
        for name, of_epochs in values.items()
        if len(set(of_epochs)) > 1
    ]
    if moved:
        text = f"{', '.join(moved)}: the losses cannot be compared"
        return verdict(NOT_CHECKED, text)
    first, last, least = losses[0], losses[-1], min(losses)
    at = losses.index(least) + 1
    figures = {"first": first, "last": last, "least": least, "least_at": at}
    if last >= first:
        text = f"did not fall: {first:.4g} in the first epoch, {last:.4g} in the last"
        return verdict(WARNING, text, **figures)
    if last - least > (first - least) / 2:
        text = f"fell to {least:.4g} by epoch {at}, and rose to {last:.4g}"
        return verdict(WARNING, text, **figures)
    return verdict(OK, f"fell from {first:.4g} to {last:.4g}", **figures)


def of_likelihood(rows: Rows) -> Verdict:
    """Asks when the held-out negative log-likelihood was least."""
    nll = [row["negative_log_likelihood"] for row in rows]
    if not all(map(math.isfinite, nll)):
        epoch = next(i for i, x in enumerate(nll) if not math.isfinite(x))
        return verdict(WARNING, f"not finite after epoch {epoch}", epoch=epoch)
    first, last, least = nll[0], nll[-1], min(nll)
    at, end = nll.index(least), len(nll) - 1
    figures = {"first": first, "last": last, "least": least, "least_at": at}
    if at == 0:
        text = f"{first:.4g} before the first step, and never less"
        return verdict(WARNING, text, **figures)
    if last > 1.05 * least:
        text = (
            f"least after epoch {at} of {end} ({least:.4g}), now {last:.4g}: stop "
            "earlier, or restore_best_weights"
        )
        return verdict(WARNING, text, **figures)
    return verdict(OK, f"fell from {first:.4g} to {last:.4g}", **figures)


def of_calibration(bins: BinStatistics) -> Verdict:
    """Asks whether the calibration error is beyond what is tolerated and chance."""
    ece, gap = bins.ece(), bins.gap()
    if not math.isfinite(ece):
        return verdict(WARNING, "not finite")
    low, high = bins.ece_interval()
    text = f"ECE {ece:.3f} (95 % interval {low:.3f} to {high:.3f}), gap {gap:+.3f}"
    figures = {"ece": ece, "low": low, "high": high, "gap": gap}
    if low <= _TOLERATED_ERROR:
        return verdict(OK, text, **figures)
    if abs(gap) < ece / 2:
        kind = "too sure here and not sure enough there"
    else:
        kind = "too sure" if gap > 0 else "not sure enough"
    text += f": {kind}; keras_calib.calibrate mends it on held-out data"
    return verdict(WARNING, text, **figures)
