"""The examples in docstrings run, and every public object has one and type hints."""

import doctest
import importlib
import inspect
import pkgutil

import keras
import numpy as np
import pytest

import keras_calib
from tests.backends import BACKEND
from tests.exports import top_level

MODULES = sorted(
    m.name for m in pkgutil.walk_packages(keras_calib.__path__, "keras_calib.")
)
writes_a_saved_model = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="only the TensorFlow backend writes a SavedModel"
)
MARKS = {
    "keras_calib.serving.export": writes_a_saved_model,
    "keras_calib.serving.verify": writes_a_saved_model,
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=MARKS.get(name, ())) for name in MODULES]
)
def test_examples_run(name):
    module = importlib.import_module(name)
    found = doctest.testmod(
        module,
        extraglobs={"keras": keras, "keras_calib": keras_calib, "np": np},
        optionflags=doctest.NORMALIZE_WHITESPACE,
    )
    assert found.failed == 0
    assert "```python" not in inspect.getsource(module)  # doctest skips such blocks


@pytest.mark.parametrize("name", top_level())
def test_public_objects_have_a_docstring_and_type_hints(name):
    thing = getattr(keras_calib, name)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing) and thing.__init__ is not object.__init__:
        hints = inspect.get_annotations(thing.__init__)
        arguments = list(inspect.signature(thing.__init__).parameters)[1:]
        assert set(arguments) <= set(hints), f"{name}.__init__ lacks type hints"
        assert "Example" in inspect.getdoc(thing)
