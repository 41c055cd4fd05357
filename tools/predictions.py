"""Sphinx extension: "predict, then run". A question, and everything up to its end folded away beneath it.

    ```{predict-start} Which of the five functions loses most of its gradient in twenty layers?
    ```

    ... cells: code, figure, explanation ...

    ```{predict-end}
    ```

What is between the two may be any cells without a heading; it opens on a click, without a script.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective


class prediction_start(nodes.Element):
    """Where the folded part begins; its child is the question."""


class prediction_end(nodes.Element):
    """Where it ends."""


class prediction(nodes.General, nodes.Element):
    """Question and folded part."""


class question(nodes.General, nodes.TextElement):
    """What the reader is asked."""


class PredictStart(SphinxDirective):
    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        inline, messages = self.state.inline_text(self.arguments[0], self.lineno)
        start = prediction_start("", question(self.arguments[0], "", *inline))
        self.set_source_info(start)
        return [start, *messages]


class PredictEnd(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        end = prediction_end()
        self.set_source_info(end)
        return [end]


class Fold(SphinxTransform):
    """Puts what is between the two directives below the question."""

    default_priority = 10

    def apply(self, **kwargs: Any) -> None:
        for start in list(self.document.findall(prediction_start)):
            parent = start.parent
            at = parent.index(start)
            end = next((i for i in range(at, len(parent)) if isinstance(parent[i], prediction_end)), None)
            if end is None:
                logging.getLogger(__name__).warning(
                    "predict-start without a predict-end in the same section", location=start
                )
                end = at
            folded = prediction("", start[0], *parent[at + 1 : end])
            parent[at : end + 1] = [folded]
        for end in list(self.document.findall(prediction_end)):
            logging.getLogger(__name__).warning("predict-end without a predict-start", location=end)
            end.parent.remove(end)


def visit_prediction(visitor: Any, node: nodes.Element) -> None:
    visitor.body.append('<details class="cc-predict">')


def depart_prediction(visitor: Any, node: nodes.Element) -> None:
    visitor.body.append("</details>\n")


def visit_question(visitor: Any, node: nodes.Element) -> None:
    visitor.body.append('<summary><span class="cc-predict-name">Predict, then run</span> ')


def depart_question(visitor: Any, node: nodes.Element) -> None:
    visitor.body.append("</summary>\n")


def pass_by(visitor: Any, node: nodes.Element) -> None:
    """Any other builder shows question and answer as they come."""


def setup(app: Any) -> dict[str, bool]:
    plain = (pass_by, pass_by)
    app.add_node(prediction, html=(visit_prediction, depart_prediction), latex=plain, text=plain)
    app.add_node(question, html=(visit_question, depart_question), latex=plain, text=plain)
    app.add_directive("predict-start", PredictStart)
    app.add_directive("predict-end", PredictEnd)
    app.add_transform(Fold)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
