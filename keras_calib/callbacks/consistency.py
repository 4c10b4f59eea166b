"""Do the metrics and the heads of a model read predictions as its losses do?"""

from typing import Any

import keras

from keras_calib._keras import compiled_metrics
from keras_calib.callbacks import loss_facts
from keras_calib.callbacks.parts import metrics_of, part_of
from keras_calib.callbacks.verdicts import Verdict, not_checked, ok, warning
from keras_calib.metrics import MultilabelECE
from keras_calib.metrics.base import CalibrationMetric
from keras_calib.ops.reader import is_binary

_ABSENT = object()
_OF_CLASSES = (
    keras.metrics.CategoricalAccuracy,
    keras.metrics.CategoricalCrossentropy,
    keras.metrics.SparseCategoricalAccuracy,
    keras.metrics.SparseCategoricalCrossentropy,
)
_BINARY = (
    keras.metrics.BinaryAccuracy,
    keras.metrics.BinaryCrossentropy,
    MultilabelECE,
)


def of_metrics(model: keras.Model, from_logits: bool | None) -> Verdict:
    """Compares every compiled metric with the loss of its output."""
    compared, wrong = 0, []
    for name, place, metrics in compiled_metrics(model):
        loss = _loss_of(model, name, place)
        reading = loss_facts.reading(loss, from_logits)
        if loss is None or reading["from_logits"] is None:
            continue
        outputs = getattr(model, "outputs", None)
        rank = len(outputs[place].shape) if outputs else None
        for metric in metrics_of(metrics):
            compared += _said(metric, "from_logits") is not _ABSENT
            for text in _mismatches(metric, loss, reading, rank):
                of_output = f" of output {name!r}" if name else ""
                wrong.append(f"metric {metric.name!r}{of_output} {text}")
    if wrong:
        return warning("; ".join(wrong), mismatches=wrong)
    if not compared:
        return not_checked("no metric and its loss say whether they take logits")
    return ok("they read predictions as the loss does", compared=compared)


def of_heads(model: keras.Model, from_logits: bool | None) -> str:
    """Returns which last layer contradicts the loss's from_logits, or ""."""
    heads = _heads(model)
    names = [head.name for head in heads]
    if isinstance(model.loss, dict) and not set(model.loss) <= set(names):
        names = sorted(model.loss)  # the order in which Keras flattens the outputs
    if len(names) != len(heads):
        return ""
    for place, (name, head) in enumerate(zip(names, heads, strict=True)):
        loss = _loss_of(model, name, place)
        logits = loss_facts.reading(loss, from_logits)["from_logits"]
        known = loss_facts.is_of_classes(loss) or is_binary(loss)
        if not known or logits is None:
            continue
        activation = getattr(head, "activation", None)
        normal = (keras.activations.softmax, keras.activations.sigmoid)
        if logits and (isinstance(head, keras.layers.Softmax) or activation in normal):
            return (
                f"layer {head.name!r} returns probabilities, but the loss has "
                "from_logits=True: write from_logits=False, or a head without "
                "softmax or sigmoid"
            )
        linear = activation is keras.activations.linear and hasattr(head, "kernel")
        if linear and not logits:
            return (
                f"layer {head.name!r} returns logits, but the loss has "
                "from_logits=False: write from_logits=True, or a head with softmax "
                "or sigmoid"
            )
    return ""


def _mismatches(
    metric: Any, loss: Any, reading: dict[str, Any], rank: int | None
) -> list[str]:
    """Says how a metric differs from the loss, and what to write instead."""
    kind = type(metric).__name__
    ours = isinstance(metric, CalibrationMetric)
    by_class = ours and type(metric).reader is CalibrationMetric.reader
    if is_binary(loss) and (by_class or isinstance(metric, _OF_CLASSES)):
        return [
            "reads one label out of K, but the loss binary labels: write BinaryECE, "
            "MultilabelECE or BinaryAccuracy, or a loss of classes"
        ]
    if loss_facts.is_of_classes(loss) and isinstance(metric, _BINARY):
        return [
            "reads binary labels, but the loss one label out of K: write ClasswiseECE "
            "or an accuracy of classes, or a binary loss"
        ]
    if isinstance(metric, keras.metrics.BinaryAccuracy) and reading["from_logits"]:
        if metric.threshold == 0.5:
            return ["compares logits with 0.5: write BinaryAccuracy(threshold=0.0)"]
    found = {name: _said(metric, name) for name in reading}
    # An axis counts from either end; of unknown rank they cannot be compared.
    same_axis = rank is None or (
        found["axis"] in (reading["axis"] - rank, reading["axis"] + rank)
    )
    return [
        f"has {name}={found[name]!r}, the loss {said!r}: write {kind}({name}={said!r})"
        for name, said in reading.items()
        if found[name] not in (_ABSENT, said) and not (name == "axis" and same_axis)
    ]


def _said(metric: Any, name: str) -> Any:
    """Returns an argument of a metric; `AUC` has it only in its configuration."""
    if isinstance(metric, keras.metrics.AUC):
        return metric.get_config().get(name, _ABSENT)
    return getattr(metric, name, _ABSENT)


def _loss_of(model: keras.Model, name: str | None, place: int) -> Any:
    """Returns the loss of an output; a `MultiTaskModel` has it inside its own."""
    loss = keras.losses.get(part_of(model.loss, name, place))
    return getattr(loss, "loss", loss)


def _heads(model: keras.Model) -> list[Any]:
    """Returns the layers that make the outputs, also from inside nested models."""
    layers = {layer.name: layer for layer in model.layers}
    if isinstance(model, keras.Sequential):
        names = list(layers)[-1:]
    else:  # A subclass has none: its code makes the outputs.
        names = getattr(model, "output_names", None) or []
    heads = []
    for layer in filter(None, map(layers.get, names)):
        heads += _heads(layer) if isinstance(layer, keras.Model) else [layer]
    return heads
