"""The logs that Keras hands to callbacks."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import keras

Logs: TypeAlias = Mapping[str, Any] | None


class SeesValidation(keras.callbacks.Callback):
    """Base of callbacks that must know whether an epoch was validated.

    The logs do not tell, because the names of an output called "val" also begin with
    "val_".
    """

    _validated = False

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Notes that the epoch is not validated yet."""
        self._validated = False

    def on_test_end(self, logs: Logs = None) -> None:
        """Notes that the epoch is validated."""
        self._validated = True
