"""Several tasks in one model, weighed by how uncertain each is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops
from keras.src.backend import get_keras_mask, set_keras_mask

from keras_calib.arguments import one_of

# Factor of the loss: half a squared error is the likelihood's exponent.
_FACTORS = {"classification": 1.0, "regression": 0.5}


@keras.saving.register_keras_serializable(package="keras_calib")
class MultiTaskModel(keras.Model):
    """Trains a model of several outputs, with a learned weight for each loss.

    Formula, with s_t = log sigma_t^2 a weight of the model, one for each task:

    ```
    classification  exp(-s) * loss + s / 2
    regression      exp(-s) * loss / 2 + s / 2
    ```

    s moves towards log(2 loss), and log(loss) for a regression, whose loss is a
    mean squared error: a task that is hard to predict weighs less. The total may be
    negative. `compile` takes the losses by task, gammas and all; callbacks find
    them there.

    Args:
        model: a model whose output is a dictionary, one entry a task.
        tasks: `"classification"` or `"regression"` by the name of the task.
        **kwargs: `name`, as in `keras.Model`.

    Raises:
        ValueError: for tasks that are not outputs of the model, for kinds unknown,
            and in `compile` for losses that are not one a task.

    Example:

    >>> import keras_calib
    >>> x = keras.Input((4,))
    >>> outputs = {"digit": keras.layers.Dense(3)(x), "angle": keras.layers.Dense(1)(x)}
    >>> model = keras_calib.losses.MultiTaskModel(
    ...     keras.Model(x, outputs), {"digit": "classification", "angle": "regression"}
    ... )
    >>> digit = keras_calib.GammaCE(0.1, from_logits=True)
    >>> model.compile("adam", loss={"digit": digit, "angle": "mse"})
    >>> [w.name for w in model.log_variances.values()]
    ['digit_log_variance', 'angle_log_variance']

    Reference:

    - Kendall, Gal, Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses
      for Scene Geometry and Semantics", CVPR 2018,
      [arXiv:1705.07115](https://arxiv.org/abs/1705.07115), section 3.2.
    """

    def __init__(
        self, model: keras.Model, tasks: Mapping[str, str], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        outputs = model.output if isinstance(model.output, dict) else {}
        if set(tasks) != set(outputs):
            raise ValueError(
                "`tasks` must name the outputs of the model, a dictionary. Received: "
                f"tasks={dict(tasks)}, outputs={list(outputs)}"
            )
        for name, kind in tasks.items():
            one_of(f"tasks[{name!r}]", kind, tuple(_FACTORS))
        self.model = model
        self.tasks = dict(tasks)
        self.log_variances = {
            name: self.add_weight(
                shape=(), initializer="zeros", name=f"{name}_log_variance"
            )
            for name in tasks
        }

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the outputs of the model."""
        return self.model(inputs, training=training)

    def compile(self, optimizer: Any = "adam", loss: Any = None, **kwargs: Any) -> None:
        """Compiles with one loss for each task; see `keras.Model.compile`."""
        if not isinstance(loss, Mapping) or set(loss) != set(self.tasks):
            raise ValueError(
                f"`loss` must be a dictionary of the tasks {list(self.tasks)}. "
                f"Received: {loss!r}"
            )
        losses = {name: keras.losses.get(loss[name]) for name in self.tasks}
        weighed = {
            name: _Weighed(one, self.log_variances[name], _FACTORS[self.tasks[name]])
            for name, one in losses.items()
        }
        super().compile(optimizer=optimizer, loss=weighed, **kwargs)
        self.loss = losses  # where callbacks look for gammas

    def get_compile_config(self) -> dict[str, Any]:
        """Returns the arguments of `compile`, with the losses as they were given."""
        losses = keras.saving.serialize_keras_object(self.loss)
        return {**super().get_compile_config(), "loss": losses}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles with what `get_compile_config` gave."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def get_config(self) -> dict[str, Any]:
        """Returns the model and the tasks."""
        return {
            "model": keras.saving.serialize_keras_object(self.model),
            "tasks": self.tasks,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MultiTaskModel:
        """Makes the model of a config."""
        model = keras.saving.deserialize_keras_object(config["model"])
        return cls(**{**config, "model": model})


class _Weighed(keras.losses.Loss):
    """exp(-s) factor loss + s / 2, for each sample."""

    def __init__(self, loss, log_variance, factor):
        super().__init__(
            name=getattr(loss, "name", None),
            reduction=getattr(loss, "reduction", "sum_over_batch_size"),
            dtype=getattr(loss, "dtype", None),
        )
        self.of_samples = getattr(loss, "call", loss)
        self.log_variance, self.factor = log_variance, factor

    def __call__(self, y_true, y_pred, sample_weight=None):
        if sample_weight is not None:
            sample_weight = ops.copy(sample_weight)  # as CalibrationLoss does
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true, y_pred):
        losses = self.of_samples(y_true, y_pred)
        s = ops.cast(self.log_variance, losses.dtype)
        weighed = self.factor * ops.exp(-s) * losses + 0.5 * s
        if (mask := get_keras_mask(losses)) is not None:
            set_keras_mask(weighed, mask)
        return weighed
