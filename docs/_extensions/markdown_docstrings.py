"""Docstrings are Keras's Markdown; autodoc reads reStructuredText. This translates."""

import re
import zlib
from pathlib import Path

import formulas
from formulas import latex

HEADING = re.compile(r"(Formula|Examples?|References?):$")
LINK = re.compile(r"\[([^\]]+)\]\((https?:[^)\s]+)\)")
CODE = re.compile(r"(`[^`]*`)")
# What reStructuredText would take for emphasis, a substitution or a reference.
MARKS = re.compile(r"[*|]|_(?!\w)")


def plain(text: str) -> str:
    """Keeps code and links, and escapes what Markdown means literally."""
    parts = CODE.split(text)
    parts[::2] = [
        LINK.sub(r"`\1 <\2>`__", MARKS.sub(r"\\\g<0>", part)) for part in parts[::2]
    ]
    return "".join(parts)


def block(fence: str, *lines: str) -> list[str]:
    """Returns a fenced block as a formula, if it is one, or as code."""
    language = fence.strip()[3:]
    formula = None if language else latex(lines)
    kind = "math" if formula else "code-block"
    head = f".. {kind}:: {'' if formula else language or 'text'}".rstrip()
    indent = fence[: fence.index("`")]
    body = [indent + formula] if formula else lines
    return [indent + head, "", *(f"    {line}" for line in body), ""]


def translate(app, what, name, obj, options, lines):
    """Translates fences, links and headings whose text has no indent."""
    result, fenced, in_doctest = [], None, False
    for line in lines:
        text = line.strip()
        in_doctest = text.startswith(">>>") or (in_doctest and bool(text))
        if text.startswith("```") and fenced is None:
            fenced = [line]
        elif text.startswith("```"):
            result += block(*fenced)
            fenced = None
        elif fenced is not None:
            fenced.append(line)
        elif in_doctest:
            result.append(line)
        elif HEADING.match(line):
            result += [f".. rubric:: {line[:-1]}", ""]
        else:
            result.append(plain(line))
    lines[:] = result


def setup(app):
    app.setup_extension("sphinx.ext.autodoc")
    # Before napoleon, which has the default priority of 500.
    app.connect("autodoc-process-docstring", translate, priority=400)
    # All pages are read again when a formula is translated in another way.
    version = zlib.crc32(Path(formulas.__file__).read_bytes())
    return {
        "env_version": version,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
