"""Mathematics as MathML, which browsers draw without a script or a download."""

import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

_SIZES = re.compile(r"\\([bB]ig+)\s*([(\[)\]])")


def mathml(formula: str, *, as_block: bool = False) -> str:
    """Convert a formula of LaTeX to MathML; delimiters of a fixed size are marked as opening or closing."""
    sided = _SIZES.sub(lambda found: f"\\{found[1]}{'l' if found[2] in '([' else 'r'}{found[2]}", formula)
    return tex2mathml(sided, as_block=as_block)


def _inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def _display(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="formula">{mathml(node.astext(), as_block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer under the name `mathml`."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_display, None))
    app.connect("config-inited", lambda _, config: setattr(config, "html_math_renderer", "mathml"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
