"""A model of several tasks that learns the weight of each loss."""

from collections.abc import Mapping
from typing import Any, Literal, Self, TypeAlias

import keras
from keras import ops

from keras_calib._keras import get_keras_mask, set_keras_mask
from keras_calib.arguments import WholeSignature, one_of, saveable
from keras_calib.types import Tensor

__all__ = ["MultiTaskModel"]

Task: TypeAlias = Literal["classification", "regression"]


@saveable
class MultiTaskModel(keras.Model):
    """Trains a model of several outputs, with a learned weight for each loss.

    Formula, with s = log sigma^2, one weight of the model for each task:

    ```
    classification  exp(-s) * loss + s / 2
    regression      exp(-s) * loss / 2 + s / 2
    ```

    s moves toward log(2 loss), and toward log(loss) for a regression, whose loss is a
    mean squared error: a task that is hard to predict has a smaller weight. The total
    may be negative. After `compile`, `model.loss[task].loss` is the loss of a task as
    it was given, and callbacks find its hyperparameters there.

    Args:
        model: a model whose output is a dictionary with one entry for each task.
        tasks: `"classification"` or `"regression"` by the name of the task.
        name: name of the model.

    Raises:
        ValueError: if the tasks are not the outputs of the model, if a kind is
            unknown, and in `compile` if there is not one loss for each task.

    Example:

    >>> import keras_calib
    >>> x = keras.Input((4,))
    >>> outputs = {"digit": keras.layers.Dense(3)(x), "angle": keras.layers.Dense(1)(x)}
    >>> model = keras_calib.MultiTaskModel(
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

    __signature__ = WholeSignature()

    def __init__(
        self,
        model: keras.Model,
        tasks: Mapping[str, Task],
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        outputs = model.output if isinstance(model.output, dict) else {}
        if set(tasks) != set(outputs):
            raise ValueError(
                "`tasks` must name the entries of the model's output, a dictionary. "
                f"Received: tasks={dict(tasks)}, outputs={list(outputs)}"
            )
        for name, kind in tasks.items():
            one_of(f"tasks[{name!r}]", kind, Task)
        self.model = model
        self.tasks = dict(tasks)
        self.log_variances = {
            name: self.add_weight(initializer="zeros", name=f"{name}_log_variance")
            for name in tasks
        }

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Tensor]:
        """Returns the outputs of the model."""
        return self.model(inputs, training=training)  # type: ignore[no-any-return]

    def compile(self, optimizer: Any = "adam", loss: Any = None, **kwargs: Any) -> None:
        """Compiles with one loss for each task; see `keras.Model.compile`."""
        if not isinstance(loss, Mapping) or set(loss) != set(self.tasks):
            raise ValueError(
                f"`loss` must be a dictionary of the tasks {list(self.tasks)}. "
                f"Received: {loss!r}"
            )
        weighted = {
            name: WeightedLoss(loss[name], kind, self.log_variances[name])
            for name, kind in self.tasks.items()
        }
        super().compile(optimizer=optimizer, loss=weighted, **kwargs)

    def get_compile_config(self) -> dict[str, Any] | None:
        """Returns the arguments of `compile`, with the losses as they were given.

        `None` before `compile`.
        """
        if not self.compiled:
            return None
        losses = {name: weighted.loss for name, weighted in self.loss.items()}
        losses = keras.saving.serialize_keras_object(losses)
        return {**super().get_compile_config(), "loss": losses}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles the model from the result of `get_compile_config`."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def get_config(self) -> dict[str, Any]:
        """Returns the model, the tasks and the name."""
        return {
            "model": keras.saving.serialize_keras_object(self.model),
            "tasks": self.tasks,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Returns the model that `get_config` described."""
        return cls(**keras.saving.deserialize_keras_object(config))


class WeightedLoss(keras.losses.Loss):
    """The loss of a task, weighted by the learned variance.

    Args:
        loss: the loss of the task, a function that returns one value per sample, or
            the name of either.
        task: the kind of the task.
        log_variance: s, a trainable variable.
    """

    def __init__(self, loss: Any, task: Task, log_variance: keras.Variable) -> None:
        self.loss = loss = keras.losses.get(loss)
        super().__init__(
            name=getattr(loss, "name", None),
            reduction=getattr(loss, "reduction", "sum_over_batch_size"),
            dtype=getattr(loss, "dtype", None),
        )
        self.log_variance = log_variance
        # A Gaussian's negative log-likelihood has half the squared error.
        self.factor = 0.5 if task == "regression" else 1.0

    def __call__(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None
    ) -> Tensor:
        given = y_true, y_pred, sample_weight
        if hasattr(self.loss, "prepare"):  # a loss of this package
            given = self.loss.prepare(*given)
        loss = super().__call__(*given)
        return self.loss.moving(loss) if hasattr(self.loss, "moving") else loss

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Returns the weighted loss of each sample."""
        losses = getattr(self.loss, "call", self.loss)(y_true, y_pred)
        s = ops.cast(self.log_variance, losses.dtype)
        weighted = self.factor * ops.exp(-s) * losses + 0.5 * s
        if (mask := get_keras_mask(losses)) is not None:
            set_keras_mask(weighted, mask)
        return weighted
