"""The pages show the formulas of docstrings as formulas."""

import ast
import inspect
import re
import sys
from pathlib import Path

import pytest

import keras_calib

sys.path.append(str(Path(__file__).parents[2] / "docs" / "_extensions"))

from formulas import latex


@pytest.mark.parametrize(
    ("text", "expected"),
    {
        "loss = -alpha[y] * log p": r"\mathrm{loss} = - \alpha_{y}\, \log\, p",
        "(1 - p ** q) / q": r"\frac{1 - p^{q}}{q}",
        # A minus after a product is no difference.
        "2 * -log p": r"-2\, \log\, p",
        # Only a bracket that touches its name is an argument.
        "n / N (c - a)": r"\frac{n}{N}\, \left(c - a\right)",
        "n / R(g)": r"\frac{n}{R\left(g\right)}",
        "(a + b) / ((c) (d))": r"\frac{a + b}{\left(c\right)\, \left(d\right)}",
        "sum_{i != j} w_ij": r"\sum_{i \ne j} w_{ij}",
        "sum_{i = 1}^{n} x . y": r"\sum_{i = 1}^{n} x \cdot y",
        "a = 1,   b = 2": r"a = 1 \qquad b = 2",
        "p    = q\nloss = r": r"\begin{aligned}p &= q"
        r"\\\mathrm{loss} &= r\end{aligned}",
        "p = q\n  = r": r"\begin{aligned}p &= q\\ &= r\end{aligned}",
        "sum:  a\nmax:  b": r"\begin{aligned}\text{sum}\quad & a"
        r"\\\text{max}\quad & b\end{aligned}",
    }.items(),
)
def test_text_becomes_latex(text, expected):
    def spaces(text):
        return re.sub(r"\s+", " ", text).strip()

    assert spaces(latex(text.splitlines())) == spaces(expected)


@pytest.mark.parametrize("text", ["f minimizes it among functions", "a $ b", "(a"])
def test_what_is_unknown_stays_text(text):
    assert latex([text]) is None


def test_every_loss_has_a_formula():
    """But the bases."""
    without = []
    for name, thing in vars(keras_calib.losses).items():
        if inspect.isclass(thing) and issubclass(thing, keras_calib.losses.ClassLoss):
            blocks = re.findall(r"```\n(.*?)```", thing.__doc__, re.S)
            if not any(latex(block.splitlines()) for block in blocks):
                without.append(name)
    assert sorted(without) == ["ClassLoss", "TrueClassLoss"]


def test_every_formula_of_a_docstring_is_typeset():
    """Each fenced block of no language, of all the package's objects and methods."""
    math_core = pytest.importorskip("math_core", reason="the extra 'docs' has it")
    convert = math_core.LatexToMathML().convert_with_local_state
    left = []
    for path in (Path(keras_calib.__file__).parent).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                doc = ast.get_docstring(node) or ""
                blocks = re.findall(r"```\n(.*?)```", doc, re.S)
                for block in blocks:
                    if formula := latex(block.splitlines()):
                        convert(formula, displaystyle=True)  # raises if it is wrong
                    else:
                        left.append(f"{path.name}: {block}")
    assert left == []
