"""`verify` compares a SavedModel with its model, and finds what is wrong."""

import shutil

import keras
import numpy as np
import pytest

from keras_calib.serving import export, verify
from keras_calib.serving.record import Record
from keras_calib.serving.verify import check_answers
from tests.backends import tensorflow_only
from tests.serving.tools import IMAGES, NAMES, expected, network

pytestmark = tensorflow_only

OUTPUTS = {
    *("probabilities", "confidence", "label", "entropy", "logits"),
    *("classes", "scores", "outputs"),
}

SIGNATURES = ["serving_default", "logits", "classify", "regress"]


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    base = tmp_path_factory.mktemp("verified")
    return export(model, base, class_names=NAMES, inputs=IMAGES)


def test_it_agrees_with_the_recorded_outputs(folder):
    differences = verify(folder)
    assert set(differences) == OUTPUTS
    assert max(differences.values()) < 1e-6


@pytest.mark.slow
def test_it_agrees_with_the_model(folder, model):
    assert max(verify(folder, model).values()) < 1e-6
    assert max(verify(str(folder), model, IMAGES[:2]).values()) < 1e-6


@pytest.mark.slow
def test_another_model_is_found(folder):
    with pytest.raises(ValueError, match="differs from the model by more than 1e-05"):
        verify(folder, network(temperature=1.71))
    assert verify(folder, network(temperature=1.71), tolerance=0.1)["label"] == 0


@pytest.mark.slow
def test_a_graph_that_is_not_the_recorded_models_is_found(folder, tmp_path):
    other = export(network(temperature=1.71), tmp_path / "other", inputs=IMAGES)
    mixed = shutil.copytree(folder, tmp_path / "mixed")
    shutil.copytree(other / "assets.extra", mixed / "assets.extra", dirs_exist_ok=True)
    with pytest.raises(ValueError, match="differs from the model"):
        verify(mixed)


@pytest.mark.slow
def test_what_does_not_load_says_why(folder, tmp_path):
    broken = shutil.copytree(folder, tmp_path / "broken")
    shutil.rmtree(broken / "variables")
    with pytest.raises(RuntimeError, match="does not run without Keras"):
        verify(broken)


def test_nothing_to_compare_with(tmp_path):
    network().export(tmp_path / "plain", verbose=False)
    with pytest.raises(ValueError, match="no record to compare with"):
        verify(tmp_path / "plain")


def test_inputs_need_a_model(folder):
    with pytest.raises(ValueError, match="need a `model`"):
        verify(folder, inputs=IMAGES)


def test_the_record_comes_back_as_it_was_written(folder, model):
    record = Record.read(folder)
    assert record.class_names == NAMES
    assert record.from_logits is False
    np.testing.assert_array_equal(record.inputs["image"], IMAGES[:8])
    p = model.predict_on_batch(IMAGES[:8])
    np.testing.assert_allclose(record.output, p, atol=1e-7)


def answers(p):
    """Returns the right answers of all signatures."""
    return expected(p) | {
        "logits": np.log(p),
        "classes": np.array(NAMES, "S")[np.argsort(-p, axis=-1)],
        "scores": -np.sort(-p, -1),
        "outputs": p.max(-1),
    }


def off(values):
    values = values.copy()
    values.flat[0] += 1e-3
    return values


def nan(values):
    return np.full_like(values, np.nan)


NUMBERS = sorted(OUTPUTS - {"label", "classes"})
WRONG = [
    ("label", lambda label: (label + 1) % 5),
    ("classes", lambda names: names[:, ::-1]),
    *((key, spoil) for key in NUMBERS for spoil in (off, nan)),
]


@pytest.mark.parametrize(("key", "spoil"), WRONG)
def test_each_output_is_compared(key, spoil):
    p = np.random.default_rng(0).dirichlet(np.ones(5), 8)
    record = Record({}, p, False, NAMES, SIGNATURES, 1e-12)
    given = answers(p)
    assert max(check_answers(given, record).values()) < 1e-12
    given[key] = spoil(given[key])
    with pytest.raises(ValueError, match=f"{key} by"):
        check_answers(given, record._replace(tolerance=1e-5))


def test_names_that_the_model_does_not_have_are_found():
    p = np.random.default_rng(0).dirichlet(np.ones(5), 8)
    given = answers(p)
    record = Record({}, p, False, [name.upper() for name in NAMES], SIGNATURES, 1e-5)
    with pytest.raises(ValueError, match="classes by nan"):
        check_answers(given, record)


@pytest.mark.parametrize(
    ("kwargs", "reason"),
    [
        ({"tolerance": np.nan}, "`tolerance` must be a number at least 0"),
        ({"tolerance": -1.0}, "`tolerance` must be a number at least 0"),
        ({"tolerance": "a"}, "`tolerance` must be a number at least 0"),
        ({"model": 3}, "must have inputs"),
        ({"inputs": IMAGES[:, :5]}, "must have shape"),
        ({"inputs": IMAGES[:0]}, "must have at least one row"),
        ({"inputs": [IMAGES, IMAGES]}, "each input of the model, 1"),
    ],
)
def test_wrong_arguments(folder, model, kwargs, reason, monkeypatch):
    """They are found before a process is started."""
    monkeypatch.setattr("subprocess.run", pytest.fail)
    if "inputs" in kwargs:
        kwargs = {"model": model, **kwargs}
    with pytest.raises(ValueError, match=reason):
        verify(folder, **kwargs)


def test_a_model_of_another_number_of_classes(folder):
    with pytest.raises(ValueError, match="must be 3 distinct names"):
        verify(folder, network(3))


def test_a_path_without_a_version(tmp_path):
    for path in (tmp_path, tmp_path / "missing", str(tmp_path).encode()):
        with pytest.raises(ValueError, match="no record to compare with"):
            verify(path)


def test_a_model_that_names_its_inputs_otherwise(folder, model):
    """Earlier releases exported inputs under names that Keras had made."""
    image = keras.Input((6, 6, 2), name="picture")
    assert max(verify(folder, keras.Model(image, model(image))).values()) < 1e-6
