"""The documentation site: `make docs` builds it into docs/_build/html, without a network.

Pages are Markdown. Tutorials are the scripts of examples/tutorials, run while the site is built. The reference comes
from docstrings, and that of the command line from the program itself.
"""

import os
import sys
from importlib.metadata import version as installed
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # of kernels: progress bars are plain text there

from tutorial_notebooks import code_digest  # noqa: E402 # pyright: ignore[reportMissingImports]

project = "sbi_clustermass"
author = "The sbi_clustermass developers"
copyright = author
version = release = installed("sbi-clustermass")
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "mathml",
    "plain_docstrings",
    "reference_pages",
    "command_line",
    "tutorial_notebooks",
    "closed_site",
]
exclude_patterns = ["_build", "_ext"]
smartquotes = False  # --model is an option, not a dash
# ref.python: a type that an annotation names in quotes, such as "Table", may be found twice
suppress_warnings = ["mystnb.unknown_mime_type", "ref.python"]

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

# Kept from build to build as long as no line of the code changes
nb_execution_mode = "cache"
SIZE = "fast" if os.environ.get("CLUSTERMASS_FAST") else "full"
nb_execution_cache_path = str(HERE / "_build" / "executed" / f"{code_digest(HERE.parent)}-{SIZE}")
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False  # the signature has them
napoleon_use_rtype = False
default_role = "py:obj"

html_theme = "furo"
html_title = "sbi_clustermass"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
