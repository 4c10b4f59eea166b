"""Docstrings are Keras's Markdown; autodoc reads reStructuredText. This translates."""

import re

HEADINGS = re.compile(r"(Formula|Examples?|References?|Reading):$")
LINK = re.compile(r"\[([^\]]+)\]\((https?:[^)\s]+)\)")


def translate(app, what, name, obj, options, lines):
    """Turns fences, links and headings without an indent into reStructuredText."""
    result, fenced = [], False
    for line in lines:
        text = line.strip()
        if text.startswith("```"):
            fenced = not fenced
            indent = line[: len(line) - len(line.lstrip())]
            if fenced:
                result += [f"{indent}.. code-block:: {text[3:] or 'text'}", ""]
            else:
                result.append("")
        elif fenced:
            result.append("    " + line if text else "")
        elif HEADINGS.match(line):
            result += [f".. rubric:: {line[:-1]}", ""]
        else:
            result.append(LINK.sub(r"`\1 <\2>`__", line))
    lines[:] = result


def setup(app):
    app.setup_extension("sphinx.ext.autodoc")
    # Before napoleon, which has the default priority of 500.
    app.connect("autodoc-process-docstring", translate, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
