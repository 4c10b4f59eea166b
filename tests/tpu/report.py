"""What came of a program, as a row of the table."""

from __future__ import annotations

HEADER = f"{'':<50} {'GFLOP':>8} {'GB moved':>9} {'MB temp.':>9} {'MB args':>8}"


def judge(name: str, found: dict, refusal: str | None) -> tuple[bool, str]:
    """Returns whether a program was taken or refused as it should be, and its row.

    Args:
        name: what the row is called.
        found: the costs of the program, or what was said against it as `"error"`.
        refusal: what must be said against it; `None` if it must be taken.
    """
    error = found.get("error")
    if error is not None:
        right = refusal is not None and refusal in error
        verdict = f"refused, as it must be: {refusal}" if right else f"REFUSED: {error}"
        return right, f"{name:<50} {verdict}"
    costs = (
        f"{name:<50} {found['flops'] / 1e9:>8.2f} {found['bytes'] / 1e9:>9.2f} "
        f"{found['temporaries'] / 1e6:>9.1f} {found['arguments'] / 1e6:>8.1f}"
    )
    return refusal is None, costs if refusal is None else f"{costs} MUST BE REFUSED"
