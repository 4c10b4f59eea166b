"""An image that is a paragraph by itself becomes a figure, its text the caption.

So the pages are plain Markdown, which GitHub shows, too.
"""

from docutils import nodes
from sphinx.transforms import SphinxTransform


class Captions(SphinxTransform):
    default_priority = 500

    def apply(self, **kwargs):
        for image in list(self.document.findall(nodes.image)):
            paragraph = image.parent
            alone = isinstance(paragraph, nodes.paragraph) and len(paragraph) == 1
            if alone and image.get("alt"):
                caption = nodes.caption(image["alt"], image["alt"])
                figure = nodes.figure("", image, caption)
                self.document.set_id(figure)
                paragraph.replace_self(figure)


def setup(app):
    app.add_transform(Captions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
