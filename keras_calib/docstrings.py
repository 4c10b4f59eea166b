"""Docstrings in sections, which a class inherits in part."""

from __future__ import annotations

import inspect
import re
from collections.abc import Container, Iterable, Mapping, Sequence

# The sections, in order. Entries of the first three are inherited.
_INHERITED = ("Args", "Call arguments", "Raises")
_SECTIONS = (
    "Args|Call arguments|Input shape|Output shape|Attributes|Returns|Raises|Warns|"
    "Example|Examples|Reference|References"
)
_TITLE = re.compile(rf"^({_SECTIONS}):$", re.MULTILINE)


def sections(docstring: str | None) -> dict[str, str]:
    """Returns the text under each title of a docstring; the lead's title is empty."""
    lead, *rest = _TITLE.split(inspect.cleandoc(docstring or ""))
    return {"": lead, **dict(zip(rest[::2], rest[1::2], strict=True))}


def joined(parts: Mapping[str, str]) -> str:
    """Returns the docstring that has these sections."""
    rest = [f"{t}:{parts[t].rstrip()}" for t in _SECTIONS.split("|") if t in parts]
    return "\n\n".join([parts[""].rstrip(), *rest]) + "\n"


def section(known: Iterable[tuple[str, str]], names: Container[str]) -> str:
    """Returns a section of the entries that have one of these names."""
    return "\n" + "".join(text for name, text in known if name in names)


def entries(text: str) -> list[tuple[str, str]]:
    """Returns the entries of a section: the name, and the text `name: text`."""
    parts = re.split(r"^    (?=[\w*]+: )", text, flags=re.MULTILINE)
    return [(p.partition(":")[0], f"    {p.rstrip()}\n") for p in parts[1:]]


def inherited(written: Sequence[Mapping[str, str]], arguments: Iterable[str]) -> str:
    """Returns the docstring of a class with the entries that its bases wrote for it.

    Args:
        written: the sections of the class's own docstring, and of its bases'.
        arguments: the names of its arguments, in order.
    """
    whole = dict(written[0])
    for title in _INHERITED:
        found = [entries(w[title]) for w in written if title in w]
        if not found:
            continue
        if title == "Raises":
            lines = [entry for section in found for _, entry in section]
        else:
            known = {k: v for section in reversed(found) for k, v in section}
            names = arguments if title == "Args" else known
            lines = [known[name] for name in names if name in known]
        whole[title] = "\n" + "".join(dict.fromkeys(lines))
    return joined(whole)
