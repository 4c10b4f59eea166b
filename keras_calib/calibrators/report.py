"""The report on a calibration."""

from dataclasses import dataclass, field

from keras_calib.metrics.tables import html_table

__all__ = ["CalibrationReport"]


@dataclass(frozen=True)
class CalibrationReport:
    """What calibration changed.

    On the samples that it was fitted to, a calibrator looks better than on others. In
    cross-validation each sample is measured by a calibrator that was fitted to the
    other folds. These figures hold for new samples, provided that the model was not
    trained on these.

    Args:
        method: the method.
        before: `"nll"` and `"ece"` (top-label, 15 bins of equal width) of the model.
        after: the same of the calibrated model, as it is served, on the samples that
            it was fitted to.
        held_out: with `method="auto"`, the cross-validated mean negative
            log-likelihood of each candidate, and that of the model under
            `"uncalibrated"`.
        cross_validated: `"nll"` and `"ece"` of the method on samples that it was not
            fitted to.
    """

    method: str
    before: dict[str, float]
    after: dict[str, float]
    held_out: dict[str, float] = field(default_factory=dict)
    cross_validated: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n\n".join(
            "\n".join(
                f"{name:<34}" + "".join(f"{cell:>10}" for cell in cells)
                for name, *cells in table
            )
            for table in self._tables()
        )

    def _repr_html_(self) -> str:
        return "".join(html_table(header, rows) for header, *rows in self._tables())

    def _tables(self) -> list[list[list[str]]]:
        """Returns the rows of each table, its header first."""
        figures = [["", "NLL", "ECE"]]
        rows = {
            "before": self.before,
            f"{self.method}, in-sample": self.after,
            f"{self.method}, cross-validated": self.cross_validated,
        }
        for name, values in rows.items():
            if values:
                figures.append([name, f"{values['nll']:.5f}", f"{values['ece']:.5f}"])
        if not self.held_out:
            return [figures]
        ranked = sorted(self.held_out.items(), key=lambda item: item[1])
        held_out = [[name, f"{nll:.5f}"] for name, nll in ranked]
        return [figures, [["held-out NLL"], *held_out]]
