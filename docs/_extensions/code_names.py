"""Names in the code of a sentence: links into the API, and breaks in tables."""

import re

from docutils import nodes
from sphinx.util.nodes import make_refnode

CALL = re.compile(r"(?:keras_calib\.)?([A-Za-z_][\w.]*)(?:\(.*\))?")
ROOMS = ("", "calibrators.", "callbacks.", "layers.", "losses.", "metrics.", "viz.")
# After a slash, an underscore, a dot or ::, and before a capital.
BREAK = re.compile(r"(?<=[/_.:])(?=\w)|(?<=[a-z])(?=[A-Z])")


def link(app, literal, docname):
    """Links code that names a documented class or function, with or without a call."""
    call = CALL.fullmatch(literal.astext())
    objects = app.env.domains.python_domain.objects
    for room in ROOMS if call else ():
        name = f"keras_calib.{room}{call[1]}"
        entry = objects.get(name)
        if entry and entry.objtype in {"class", "function"}:
            place, parent = literal.parent.index(literal), literal.parent
            parent[place] = make_refnode(
                app.builder, docname, entry.docname, entry.node_id, [literal], name
            )
            return


def let_break(literal):
    """Says where a long name of a table's cell may go on in the next line."""
    first, *rest = BREAK.split(literal.astext())
    literal.children = [nodes.Text(first)]
    for part in rest:
        literal += [nodes.raw("", "<wbr>", format="html"), nodes.Text(part)]


def mark(app, doctree, docname):
    for literal in list(doctree.findall(nodes.literal)):
        if isinstance(literal.parent, (nodes.reference, nodes.title)):
            continue
        if not docname.startswith("api/"):
            link(app, literal, docname)
    for entry in doctree.findall(nodes.entry):
        for literal in list(entry.findall(nodes.literal)):
            let_break(literal)


def setup(app):
    app.connect("doctree-resolved", mark)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
