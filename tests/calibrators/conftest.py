"""Shorter cross-validation where a test is not about it."""

import pytest

from keras_calib.calibrators import structured


@pytest.fixture(autouse=True)
def few_strengths(request, monkeypatch):
    if request.module.__name__.rpartition(".")[2] in ("test_scores", "test_calibrate"):
        monkeypatch.setattr(structured, "_STRENGTHS", (30.0, 1.0))
        monkeypatch.setattr(structured, "_FEW", 0)
