"""The recipe with cleanlab's estimate finds the matrix of the noise."""

import re
from pathlib import Path

import numpy as np
import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "label_noise.md"
CODE = re.compile(r"^```py\n(.*?)^```", re.DOTALL | re.M)


def test_the_recipe_finds_the_matrix():
    pytest.importorskip("cleanlab", reason="needs cleanlab")
    rng = np.random.default_rng(0)
    truth = np.array([[0.8, 0.2, 0.0], [0.0, 1.0, 0.0], [0.0, 0.3, 0.7]])
    clean = rng.integers(0, 3, 20000)
    labels = (truth[clean].cumsum(-1) < rng.uniform(size=(20000, 1))).sum(-1)
    # A model that tells the classes apart, and has learned the noise.
    names = {"labels": labels, "probabilities": truth[clean]}
    (code,) = CODE.findall(GUIDE.read_text("utf-8"))
    exec(code, names)
    np.testing.assert_allclose(names["transition"], truth, atol=0.02)
