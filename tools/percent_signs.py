"""Sphinx extension: a number and its percent sign stay on one line ("95 %")."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.transforms import SphinxTransform

APART = re.compile(r"(?<=\d) (?=%)")
AS_WRITTEN = (nodes.literal, nodes.FixedTextElement, nodes.math, nodes.raw)


class KeepTogether(SphinxTransform):
    """Puts a no-break space between a digit and a percent sign, but not in code and formulas."""

    default_priority = 900

    def apply(self, **kwargs: Any) -> None:
        for text in list(self.document.findall(nodes.Text)):
            if APART.search(text) and not isinstance(text.parent, AS_WRITTEN):
                text.parent.replace(text, nodes.Text(APART.sub("\u00a0", text)))


def setup(app: Any) -> dict[str, bool]:
    app.add_transform(KeepTogether)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
