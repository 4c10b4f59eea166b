"""The base of the displays: colors, and how a notebook shows them."""

import base64
import io
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, whose colors people with any color vision can tell apart.
COLORS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
BLUE, VERMILION, GREEN = COLORS[1:4]


class Display(ABC):
    """Base of the displays: `plot` draws, and leaves the figure in `figure_`."""

    figure_: "Figure"

    @abstractmethod
    def plot(self) -> Any:
        """Draws a new figure."""

    def _repr_html_(self) -> str:
        from matplotlib import pyplot

        if not hasattr(self, "figure_"):
            self.plot()
        image = base64.b64encode(png(self.figure_)).decode()
        pyplot.close(self.figure_)  # or the notebook would show it a second time
        return f'<img src="data:image/png;base64,{image}" alt="{type(self).__name__}">'


def new_axes(**kwargs: Any) -> Any:
    """Returns the axes of a new figure; see `matplotlib.pyplot.subplots`."""
    from matplotlib import pyplot

    return pyplot.subplots(**kwargs)[1]


def png(figure: "Figure") -> bytes:
    """Returns a figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
