"""Sphinx configuration of the documentation, which `make docs` builds."""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path[:0] = [
    str(Path(__file__).parents[1]),
    str(Path(__file__).parent / "_extensions"),
]

from api_pages import MOCKED  # noqa: E402

import keras_calib  # noqa: E402

project = "keras_calib"
author = "The keras_calib authors"
project_copyright = "the keras_calib authors, Apache License 2.0"
version = release = keras_calib.__version__

extensions = [
    "api_pages",
    "captions",
    "code_names",
    "markdown_docstrings",
    "mathml",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
templates_path = ["_templates"]
# The output of the scripts, which the pages repeat.
exclude_patterns = ["_build", "demo", "experiments/*/**"]
# `name` in a docstring links to the object if it is documented, and is code otherwise.
default_role = "py:obj"

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# The notebooks keep the outputs of `docs/notebooks/execute.py`.
nb_execution_mode = "off"

autodoc_mock_imports = MOCKED
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
maximum_signature_line_length = 80
autosummary_generate = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Call arguments", "params_style")]

# A copy button takes the code, without prompts and output.
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = f"keras_calib {version}"
html_static_path = ["_static"]
html_css_files = ["keras_calib.css"]
html_copy_source = False
html_show_sphinx = False
