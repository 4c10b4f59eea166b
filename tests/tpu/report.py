"""Writes the result of a program as a row of the table."""

from __future__ import annotations

HEADER = f"{'':<50} {'GFLOP':>8} {'GB moved':>9} {'MB temp.':>9} {'MB args':>8}"


def judge(name: str, found: dict, refusal: str | None) -> tuple[bool, str]:
    """Returns whether the result is the expected one, and its row.

    Args:
        name: the name of the row.
        found: the costs of the program, or its `"error"`.
        refusal: a part of the error to expect; `None` if the program must compile.
    """
    error = found.get("error")
    if error is not None:
        right = refusal is not None and refusal in error
        verdict = f"rejected, as expected: {refusal}" if right else f"REJECTED: {error}"
        return right, f"{name:<50} {verdict}"
    costs = (
        f"{name:<50} {found['flops'] / 1e9:>8.2f} {found['bytes'] / 1e9:>9.2f} "
        f"{found['temporaries'] / 1e6:>9.1f} {found['arguments'] / 1e6:>8.1f}"
    )
    return refusal is None, costs if refusal is None else f"{costs} MUST BE REJECTED"
