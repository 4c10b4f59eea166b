"""Judges a fit by its figures, one row for each epoch."""

import math
from functools import partial
from typing import Any, TypeAlias

from keras_calib.metrics import BinStatistics

# A calibration error significantly above this is worth a warning.
_TOLERATED_ERROR = 0.02

Verdict: TypeAlias = dict[str, Any]
Rows: TypeAlias = list[dict[str, Any]]


def _verdict(kind: str, text: str, **figures: Any) -> Verdict:
    """Returns a verdict with its sentence and its figures."""
    return {"verdict": kind, "text": text, **figures}


ok = partial(_verdict, "ok")
warning = partial(_verdict, "warning")
not_checked = partial(_verdict, "not checked")


def of_gradient(rows: Rows) -> Verdict:
    """Compares the largest gradient with respect to a logit with the loss's bound."""
    for epoch, row in enumerate(rows):
        if not math.isfinite(row["gradient"]):
            return warning(f"NaN or infinite after epoch {epoch}", epoch=epoch)
    worst = max(rows, key=lambda row: row["gradient"] / (row["gradient_bound"] or 1))
    largest, bound = worst["gradient"], worst["gradient_bound"]
    text = f"at most {largest:.3g}; the bound "
    if bound is None:
        return not_checked(text + "of this loss is not known", largest=largest)
    text += f"is {bound:.3g}"
    if largest <= bound * (1 + 1e-5):
        return ok(text, largest=largest, bound=bound)
    text += ", so the value or the weight of the loss is wrong"
    return warning(text, largest=largest, bound=bound)


def of_loss(rows: Rows, hyperparameters: list[str]) -> Verdict:
    """Judges whether the training loss fell, if its values can be compared."""
    losses = [row["loss"] for row in rows if row.get("loss") is not None]
    if not losses:
        return not_checked("no epoch ended with a loss")
    for epoch, loss in enumerate(losses, 1):
        if not math.isfinite(loss):
            return warning(f"{loss} in epoch {epoch}", epoch=epoch)
    if len(losses) == 1:
        return not_checked("a single epoch cannot be compared with another")
    moved = [
        f"{name} moved from {rows[0][name]:g} to {rows[-1][name]:g}"
        for name in hyperparameters
        if len({row[name] for row in rows}) > 1
    ]
    if moved:
        return not_checked(f"{', '.join(moved)}: the losses cannot be compared")
    figures = _course(losses, first_epoch=1)
    first, last, least, at = figures.values()
    if last >= first:
        text = f"did not fall: {first:.4g} in the first epoch, {last:.4g} in the last"
    elif last - least > (first - least) / 2:
        text = f"fell to {least:.4g} by epoch {at}, and rose to {last:.4g}"
    else:
        return ok(f"fell from {first:.4g} to {last:.4g}", **figures)
    return warning(text, **figures)


def of_likelihood(rows: Rows) -> Verdict:
    """Judges when the held-out negative log-likelihood was lowest."""
    nll = [row["negative_log_likelihood"] for row in rows]
    for epoch, x in enumerate(nll):
        if not math.isfinite(x):
            return warning(f"not finite after epoch {epoch}", epoch=epoch)
    figures = _course(nll, first_epoch=0)
    first, last, least, at = figures.values()
    if at == 0:
        text = f"{first:.4g} before the first step, and never lower"
    elif last > 1.05 * least:
        text = (
            f"lowest after epoch {at} of {len(nll) - 1} ({least:.4g}), now {last:.4g}: "
            "stop earlier, or restore_best_weights"
        )
    else:
        return ok(f"fell from {first:.4g} to {last:.4g}", **figures)
    return warning(text, **figures)


def of_calibration(bins: BinStatistics) -> Verdict:
    """Judges whether the calibration error is significantly above 2 %."""
    ece, gap = bins.ece(), bins.gap()
    if not math.isfinite(ece):
        text = "the ECE is not finite: predictions are NaN, or not probabilities"
        return warning(text)
    low, high = bins.ece_interval()
    text = f"ECE {ece:.3f} (95 % interval {low:.3f} to {high:.3f}), gap {gap:+.3f}"
    figures = {"ece": ece, "low": low, "high": high, "gap": gap}
    if low <= _TOLERATED_ERROR:
        return ok(text, **figures)
    kind = "overconfident" if gap > 0 else "underconfident"
    if abs(gap) < ece / 2:
        kind = "overconfident in some bins, underconfident in others"
    text += f": {kind}; keras_calib.calibrate corrects this on held-out data"
    return warning(text, **figures)


def _course(values: list[float], first_epoch: int) -> dict[str, float]:
    least = min(values)
    at = first_epoch + values.index(least)
    return {"first": values[0], "last": values[-1], "least": least, "least_at": at}
