"""The loss that CONTRIBUTING.md writes in thirty lines is PolyLoss."""

import re
from pathlib import Path

import keras
import numpy as np

import keras_calib
from keras_calib.arguments import in_range
from keras_calib.losses import TrueClassLoss
from tests.losses.tools import value_and_gradient

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"


def test_the_loss_in_thirty_lines_is_polyloss():
    names = {"keras": keras, "TrueClassLoss": TrueClassLoss, "in_range": in_range}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
        exec(compile(code, str(PAGE), "exec"), names)
    rng = np.random.default_rng(0)
    y, z = rng.integers(0, 4, 20), 5 * rng.normal(size=(20, 4))
    kwargs = {"from_logits": True, "reduction": None, "dtype": "float64"}
    ours = keras_calib.PolyLoss(2.0, **kwargs)
    made = names["PolyCE"](2.0, **kwargs)
    again = names["PolyCE"].from_config(made.get_config())
    expected = value_and_gradient(ours, y, z, "float64")
    for loss in (made, again):
        found = value_and_gradient(loss, y, z, "float64")
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
