"""The formulas and numbers in the table of losses are those of the library."""

import re
from pathlib import Path

import numpy as np
import pytest
from keras import ops

import keras_calib

FOLDER = Path(__file__).parents[2] / "docs" / "mathematics"
P = np.linspace(1e-6, 1 - 1e-6, 200001)
PAGE = (FOLDER / "losses.md").read_text(encoding="utf-8")
FORMULAS = re.findall(r"^\| [^|]+ \| \$(.+?)\$ \| \$(.+?)\$ \|$", PAGE, re.MULTILINE)
OBJECTS = re.findall(r"^\| `(.+?)` \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.MULTILINE)
ROWS = [a + b for a, b in zip(FORMULAS, OBJECTS, strict=True)]
# These turn a formula into Python, with the numbers of the objects in the table.
GREEK = {r"\gamma": "0.1", r"\beta": "2", r"\varepsilon": "1"}
AS_PYTHON = [
    (r"\^\{(.+?)\}", r"**(\1)"),
    (r"\^q", "**0.7"),
    (r"\bq\b", "0.7"),
    (r"\^", "**"),
    (r"\\log p", "log(p)"),
    (r"\\log", "log"),
    (r"(?<=[\d)p]) ?(?=[p(]|log)", "*"),
]


def formula(latex):
    for name, number in GREEK.items():
        latex = latex.replace(name, f" {number} ")
    latex = re.sub(r" +", " ", latex)
    for pattern, replacement in AS_PYTHON:
        latex = re.sub(pattern, replacement, latex)
    latex = re.sub(r"(?<=\d) +(?=[\d(p])", "*", latex).replace("log*", "log")
    return eval(latex, {"log": np.log, "p": P}) * np.ones_like(P)


@pytest.mark.parametrize(("value", "weight", "thing", "bound", "becomes"), ROWS)
def test_table(value, weight, thing, bound, becomes):
    loss = eval(thing, vars(keras_calib))
    loss = type(loss).from_config({**loss.get_config(), "dtype": "float64"})
    known = [ops.convert_to_tensor(x) for x in (np.log(P), P, 1 - P)]
    of_value = ops.convert_to_numpy(loss.value(*known))
    of_weight = ops.convert_to_numpy(loss.weight(*known))
    np.testing.assert_allclose(formula(value), of_value, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(formula(weight), of_weight, rtol=1e-9, atol=1e-12)
    assert (of_weight * (1 - P)).max() == pytest.approx(float(bound), abs=5.1e-5)
    risk = 0.7 * of_value + 0.3 * of_value[::-1]
    assert P[risk.argmin()] == pytest.approx(float(becomes), abs=5.5e-5)


def test_all_rows_are_read():
    assert len(ROWS) == 7
