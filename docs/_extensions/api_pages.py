"""Tells the templates of the API pages what each room exports.

`sphinx.ext.autosummary` writes `docs/api/*.rst` from `docs/_templates`: a page for each
of `PAGES`, with tables, and a page for each object in a table.
"""

import importlib
import inspect
import pkgutil
import sys
from pathlib import Path

import keras
from markdown_docstrings import translate
from sphinx import addnodes
from sphinx.ext.autodoc.mock import mock
from sphinx.ext.viewcode import viewcode_anchor

import keras_calib
from keras_calib.arguments import default_name
from keras_calib.losses import CalibrationLoss

# The modules that have a page, in its order: the title, and the guide to read with it.
PAGES = {
    "keras_calib.losses": ("Losses", "choosing_a_loss"),
    "keras_calib.metrics": ("Metrics", "measuring_calibration"),
    "keras_calib.evaluation": ("Evaluate and check", "measuring_calibration"),
    "keras_calib.calibrators": ("Calibrators", "post_hoc_calibration"),
    "keras_calib.callbacks": ("Callbacks", "annealing_gamma"),
    "keras_calib.layers": ("Layers and models", "language_models"),
    "keras_calib.serving": ("Serving", "serving"),
    "keras_calib.viz": ("Plots", "measuring_calibration"),
    "keras_calib.sql": ("Databases", "measuring_calibration"),
    "keras_calib.beam": ("Apache Beam", "measuring_calibration"),
    "keras_calib.tfma": ("TensorFlow Model Analysis", "measuring_calibration"),
    "keras_calib.ops": ("Operations", None),
}
# What the extra `beam` brings takes gigabytes, and the pages need none of it.
MOCKED = ["apache_beam", "tensorflow_model_analysis"]
# The bases in them: a mocked one would hide the arguments of the classes made from it.
_BASES = {
    "apache_beam": "CombineFn",
    "tensorflow_model_analysis.metrics.metric_types": "Metric",
}
# A file that is shown on the page of another room.
ELSEWHERE = {"keras_calib.ops.checks": "keras_calib.evaluation"}
_KERAS = keras.losses.Loss, keras.metrics.Metric, keras.Layer, keras.callbacks.Callback


def module_at(path):
    """Returns a module, without the packages of the extra `beam`."""
    with mock(MOCKED):
        for package, base in _BASES.items():
            setattr(importlib.import_module(package), base, object)
        return importlib.import_module(path)


def files(page):
    """Returns the modules on a page that export something."""
    module = module_at(page)
    names = [page]
    if hasattr(module, "__path__"):
        found = (f"{page}.{m.name}" for m in pkgutil.iter_modules(module.__path__))
        names = sorted({*found} - {*ELSEWHERE})
    names += [file for file, room in ELSEWHERE.items() if room == page]
    modules = map(module_at, names)
    return [module for module in modules if hasattr(module, "__all__")]


def path_of(module, name):
    """Returns the shortest path of an object."""
    thing = getattr(module, name)
    if not callable(thing):
        return f"{module.__name__}.{name}"
    if getattr(keras_calib, name, None) is thing:
        return f"keras_calib.{name}"
    alone = module.__package__ == "keras_calib"  # a file that is in no room
    return f"{module.__name__ if alone else module.__package__}.{name}"


def thing_at(path):
    """Returns the object of a path."""
    module, _, name = path.rpartition(".")
    return getattr(module_at(module), name)


def is_base(thing):
    return inspect.isclass(thing) and thing.__doc__.startswith("Base of")


def kind(path):
    """Returns the title of the table that an object is in."""
    thing = thing_at(path)
    if is_base(thing):
        return "Bases of your own"
    if not callable(thing):
        return "Types and names"
    return "Classes" if inspect.isclass(thing) else "Functions"


def tables(page):
    """Returns the titles of the tables on a page, each with the paths in it."""
    paths = [path_of(module, name) for module in files(page) for name in module.__all__]
    paths.sort(key=lambda path: path.rpartition(".")[2].lower())
    titles = "Classes", "Functions", "Bases of your own", "Types and names"
    found = {title: [p for p in paths if kind(p) == title] for title in titles}
    return {title: names for title, names in found.items() if names}


def has_members(path):
    """Returns whether the page of a class describes its methods: Keras has the rest."""
    thing = thing_at(path)
    of_keras = inspect.isclass(thing) and issubclass(thing, (*_KERAS, tuple))
    return is_base(thing) or (inspect.isclass(thing) and not of_keras)


def docstring(module):
    """Returns the docstring of a module in reStructuredText."""
    lines = inspect.getdoc(module).splitlines()
    translate(None, "module", module.__name__, module, None, lines)
    return "\n".join(lines)


def class_of(function):
    """Returns the class that the function form of a loss is made from, or None."""
    things = vars(sys.modules[function.__module__]).values()
    classes = (x for x in things if inspect.isclass(x))
    losses = (x for x in classes if issubclass(x, CalibrationLoss))
    return next((x for x in losses if default_name(x) == function.__name__), None)


def link_to_class(app, doctree):
    """Links the function form of a loss, which no `def` defines, to its class."""
    for signature in doctree.findall(addnodes.desc_signature):
        if signature.parent["objtype"] == "function":
            path = f"{signature['module']}.{signature['fullname']}"
            cls = class_of(thing_at(path))
            if cls:
                signature += viewcode_anchor(
                    reftarget=f"_modules/{cls.__module__.replace('.', '/')}",
                    refid=cls.__name__,
                    refdoc=app.env.docname,
                )


def setup(app):
    pages = {
        page: {
            "title": title,
            "guide": guide,
            "docstring": docstring(module_at(page)),
            "tables": tables(page),
        }
        for page, (title, guide) in PAGES.items()
    }
    listed = [
        p for page in pages.values() for names in page["tables"].values() for p in names
    ]
    for old in Path(app.srcdir, "api").glob("*.rst"):
        if old.stem not in (*pages, *listed):
            old.unlink()
    app.connect("doctree-read", link_to_class)
    app.config.autosummary_context = {
        "pages": pages,
        "with_members": [path for path in listed if has_members(path)],
    }
    return {"parallel_read_safe": True, "parallel_write_safe": True}
