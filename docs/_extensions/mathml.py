"""Formulas as MathML, written into the pages while they are built.

Every browser of today draws MathML, so the pages need no script and no network.
"""

import math_core
from docutils import nodes
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

CONVERTER = math_core.LatexToMathML()
logger = logging.getLogger(__name__)


def mathml(node: nodes.Element, display: bool) -> str:
    latex = node.astext().strip()
    try:
        return CONVERTER.convert_with_local_state(latex, displaystyle=display)
    except math_core.LatexError as error:
        logger.warning("no MathML for %r: %s", latex, error, location=node)
        return ""


def visit_inline(self, node: nodes.Element) -> None:
    self.body.append(mathml(node, display=False))
    raise nodes.SkipNode


def visit_display(self, node: nodes.Element) -> None:
    self.body.append(self.starttag(node, "div", CLASS="math"))
    if node["number"]:
        number = get_node_equation_number(self, node)
        self.body.append(f'<span class="eqno">({number})</span>')
    self.body.append(mathml(node, display=True) + "</div>\n")
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_display, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
