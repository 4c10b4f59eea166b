"""Thresholds of figures, such as `ece > 0.05`, parsed without running them as code."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping
from typing import NamedTuple

_COMPARISONS = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_FORM = re.compile(r"\s*(\w+)\s*(>=|<=|>|<)\s*(\S+)\s*")


class Threshold(NamedTuple):
    """A condition that makes the command fail.

    Args:
        figure: the name of a figure.
        comparison: `">"`, `">="`, `"<"` or `"<="`.
        value: what it is compared with.
    """

    figure: str
    comparison: str
    value: float

    @classmethod
    def parse(cls, text: str) -> Threshold:
        """Reads a condition such as `ece > 0.05`.

        Raises:
            ValueError: for a text of another form.
        """
        form = _FORM.fullmatch(text)
        try:
            value = float(form[3]) if form else math.nan
        except ValueError:
            value = math.nan
        if form is None or math.isnan(value):
            raise ValueError(
                "a threshold must be a figure, a comparison and a number, such as "
                f"'ece > 0.05'. Received: {text!r}"
            )
        return cls(form[1], form[2], value)

    def fails(self, figures: Mapping[str, float]) -> str:
        """Returns why the figures fail, or an empty string if they do not.

        A figure that is NaN fails.

        Raises:
            ValueError: for an unknown figure.
        """
        if self.figure not in figures:
            raise ValueError(
                f"there is no figure {self.figure!r}: {', '.join(sorted(figures))}"
            )
        found = figures[self.figure]
        if math.isnan(found) or _COMPARISONS[self.comparison](found, self.value):
            return f"{self.figure} = {found:.6g} ({self.comparison} {self.value:g})"
        return ""
