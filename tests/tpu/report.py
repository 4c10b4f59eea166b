"""Writes the result of a program, or of a program and its peer, as a row."""

from __future__ import annotations

HEADER = f"{'':<50} {'GFLOP':>8} {'GB moved':>9} {'MB temp.':>9} {'MB args':>8}"

RATIOS = f"{'':<60} {'GFLOP':>8} {'peer':>8} {'GB moved':>9} {'peer':>9} {'ratio':>6}"


def judge(
    name: str, found: dict, refusal: str | None, limit: float | None = None
) -> tuple[bool, str]:
    """Returns whether the result is the expected one, and its row.

    Args:
        name: the name of the row.
        found: the costs of the program, or its `"error"`.
        refusal: a part of the error to expect; `None` if the program must compile.
        limit: the megabytes of temporaries that are allowed, if there is a limit.
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
    if refusal is not None:
        return False, f"{costs} MUST BE REJECTED"
    if limit is None:
        return True, costs
    right = found["temporaries"] <= limit * 1e6
    return right, f"{costs} temp. {'<=' if right else 'ARE ABOVE'} {limit:g}"


def compare(name: str, ours: dict, peer: dict, limit: float | None) -> tuple[bool, str]:
    """Returns whether our program moves no more than the limit allows, and its row.

    Args:
        name: the name of the row.
        ours: the costs of our program.
        peer: those of the peer's.
        limit: the largest ratio of the bytes, if there is one.
    """
    ratio = ours["bytes"] / peer["bytes"]
    right = limit is None or ratio <= limit
    flops = f"{ours['flops'] / 1e9:>8.2f} {peer['flops'] / 1e9:>8.2f}"
    moved = f"{ours['bytes'] / 1e9:>9.3f} {peer['bytes'] / 1e9:>9.3f}"
    verdict = "" if limit is None else f" {'<=' if right else 'IS ABOVE'} {limit}"
    return right, f"{name:<60} {flops} {moved} {ratio:>6.2f}{verdict}"
