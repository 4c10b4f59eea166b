"""The k most probable classes together, beside the figures of all."""

import numpy as np
import pytest

import keras_calib
from keras_calib.metrics import TopKCalibrationError
from tests.metrics.reference import data

Y, P, W = data("classes")


def test_it_is_the_metrics():
    found = keras_calib.evaluate(Y, P, sample_weight=W, top_k=2)
    metric = TopKCalibrationError(2, dtype="float64")
    metric.update_state(Y, P.astype("float64"), W)
    assert found["top_k_calibration_error"] == pytest.approx(float(metric.result()))
    hit = (np.argsort(-P, -1)[:, :2] == Y[:, None]).any(-1)
    assert found["top_k_accuracy"] == pytest.approx(np.average(hit, weights=W))
    assert "the k most probable classes" in str(found)
    one = keras_calib.evaluate(Y, P, top_k=1)
    assert one["top_k_calibration_error"] == pytest.approx(one["ece"])
    assert one["top_k_accuracy"] == pytest.approx(one["accuracy"])
    assert not any(name.startswith("top_k") for name in keras_calib.evaluate(Y, P))


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"top_k": 6}, "`k` must be at most the number of classes, 5"),
        ({"top_k": 0}, "`top_k` must be a whole number"),
        ({"top_k": 2, "top_label_only": True}, "leave out multilabel and top_label"),
    ],
)
def test_what_cannot_be_is_refused(how, match):
    with pytest.raises(ValueError, match=match):
        keras_calib.evaluate(Y, P, **how)
