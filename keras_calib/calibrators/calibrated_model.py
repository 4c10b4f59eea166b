"""The model that `calibrate` returns."""

from dataclasses import asdict
from typing import Any, Self

import keras

from keras_calib.arguments import saveable
from keras_calib.calibrators.report import CalibrationReport


@saveable
class CalibratedModel(keras.Model):
    """A functional model whose last layer is a calibrator, saved with its report."""

    calibration_report: CalibrationReport | None = None

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration of the layers, and the report."""
        report = self.calibration_report and asdict(self.calibration_report)
        return {**super().get_config(), "calibration_report": report}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Makes a model from its configuration."""
        config = dict(config)
        report = config.pop("calibration_report", None)
        model: Self = super().from_config(config, custom_objects)
        model.calibration_report = report and CalibrationReport(**report)
        return model
