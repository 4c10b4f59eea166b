"""Metrics of TensorFlow Model Analysis have the figures of `evaluate`."""

import keras
import numpy as np
import pytest

import keras_calib
from tests.backends import tensorflow_only

tfma = pytest.importorskip(
    "tensorflow_model_analysis", reason="needs the extra beam: make test-beam"
)

import tensorflow as tf  # noqa: E402
from tensorflow_model_analysis.proto import config_pb2 as proto  # noqa: E402

import keras_calib.tfma as calibration  # noqa: E402

pytestmark = tensorflow_only

N = 300


def samples():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 4)).astype("float32")
    y, group = rng.integers(0, 3, N), rng.integers(0, 2, N)
    return x, y, group, rng.random(N).astype("float32")


X, Y, GROUP, W = samples()
NAMES = {
    "ExpectedCalibrationError": "ece",
    "DebiasedCalibrationError": "ece_l2_debiased",
    "CalibrationGap": "calibration_gap",
    "BrierScore": "brier_score",
    "NegativeLogLikelihood": "negative_log_likelihood",
}


def model_of():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((4,), name="x"), keras.layers.Dense(3, "softmax")]
    model = keras.Sequential(layers)
    model.compile("adam", loss="sparse_categorical_crossentropy")
    return model


MODEL = model_of()
P = MODEL.predict(X, verbose=0)


def write(path, **columns):
    """Writes columns as tf.Examples."""

    def feature(value):
        value = np.ravel(value)
        if value.dtype.kind == "i":
            return tf.train.Feature(int64_list=tf.train.Int64List(value=value))
        return tf.train.Feature(float_list=tf.train.FloatList(value=value))

    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in zip(*columns.values(), strict=True):
            features = {k: feature(v) for k, v in zip(columns, row, strict=True)}
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())


def config_of(spec, most=1.0, weighted=False):
    threshold = proto.MetricThreshold(
        value_threshold=proto.GenericValueThreshold(upper_bound={"value": most})
    )
    metrics = [
        proto.MetricConfig(
            class_name=name,
            config='{"num_bins": 10}',
            threshold=threshold if name == "ExpectedCalibrationError" else None,
        )
        for name in NAMES
    ]
    weights = proto.ExampleWeightOptions(weighted=weighted, unweighted=not weighted)
    return proto.EvalConfig(
        model_specs=[spec],
        slicing_specs=[proto.SlicingSpec(), proto.SlicingSpec(feature_keys=["group"])],
        metrics_specs=[proto.MetricsSpec(metrics=metrics, example_weights=weights)],
    )


def analyzed(config, folder, model=None):
    """Returns the figures of each slice, and whether the thresholds are met."""
    found = tfma.run_model_analysis(
        eval_shared_model=model,
        eval_config=config,
        data_location=str(folder / "data.tfrecord"),
        output_path=str(folder / "out"),
        file_format="tfrecords",
    )
    figures = {
        key: {name: value["doubleValue"] for name, value in values[""][""].items()}
        for key, values in found.slicing_metrics
    }
    return figures, tfma.load_validation_result(str(folder / "out")).validation_ok


def assert_figures(found, y, p, weight=None, **how):
    expected = keras_calib.evaluate(y, p, sample_weight=weight, num_bins=10, **how)
    assert found == pytest.approx({k: expected[k] for k in NAMES.values()}, abs=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_predictions_in_files_with_slices_and_weights(weighted, tmp_path):
    write(tmp_path / "data.tfrecord", label=Y, group=GROUP, p=P, w=W)
    weights = {"example_weight_key": "w"} if weighted else {}
    spec = proto.ModelSpec(label_key="label", prediction_key="p", **weights)
    found, met = analyzed(config_of(spec, weighted=weighted), tmp_path)
    assert met
    w = W if weighted else None
    assert_figures(found[()], Y, P, w)
    for group in (0, 1):
        inside = group == GROUP
        some = None if w is None else w[inside]
        assert_figures(found[(("group", group),)], Y[inside], P[inside], some)


def test_a_binary_problem_and_a_threshold_that_is_not_met(tmp_path):
    y, p = Y % 2, P[:, 0]
    write(tmp_path / "data.tfrecord", label=y, group=GROUP, p=p)
    spec = proto.ModelSpec(label_key="label", prediction_key="p")
    found, met = analyzed(config_of(spec, most=1e-3), tmp_path)
    assert not met
    assert_figures(found[()], y, p)


def test_a_model_that_is_served(tmp_path):
    write(tmp_path / "data.tfrecord", label=Y, group=GROUP, x=X)
    folder = keras_calib.serving.export(MODEL, tmp_path / "served", inputs=X[:8])
    spec = proto.ModelSpec(
        label_key="label",
        signature_name="serving_default",
        model_type=tfma.TF_GENERIC,
        prediction_key="probabilities",
    )
    config = config_of(spec)
    model = tfma.default_eval_shared_model(
        eval_saved_model_path=str(folder), eval_config=config, tags=["serve"]
    )
    found, met = analyzed(config, tmp_path, model)
    assert met
    expected = keras_calib.evaluate(Y, P, num_bins=10)
    for name in NAMES.values():
        assert found[()][name] == pytest.approx(expected[name], abs=1e-6)


@pytest.mark.parametrize("signature", ["classify", "logits", "regress"])
def test_other_signatures_are_refused(signature):
    config = config_of(proto.ModelSpec(signature_name=signature))
    with pytest.raises(ValueError, match='use signature_name="serving_default"'):
        calibration.BrierScore().computations(eval_config=config)


def test_metrics_of_as_many_bins_share_their_sums():
    metrics = [getattr(calibration, name)(num_bins=10) for name in NAMES]
    computations = [c for metric in metrics for c in metric.computations()]
    assert len(set(computations)) == len(metrics) + 1
    assert [metric.name for metric in metrics] == list(NAMES.values())
    with pytest.raises(ValueError, match="`num_bins` must be a whole number"):
        calibration.ExpectedCalibrationError(num_bins=0)
