"""Configuration of Sphinx for the documentation; scripts/build_docs.sh builds it."""

import sys
from pathlib import Path

from pygments.lexer import RegexLexer
from pygments.token import Comment, Keyword, Name, Number, Punctuation, String, Whitespace

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent), str(DOCS.parent / "scripts")]

import generate_reference  # noqa: E402

import object_detection_mtl  # noqa: E402

generate_reference.write_pages(DOCS / "reference" / "generated")

project = "object_detection_mtl"
author = "The object_detection_mtl authors"
copyright = "The object_detection_mtl authors, Apache-2.0"
release = version = object_detection_mtl.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_block", "attrs_inline"]
autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
# `name` in a docstring is code.
default_role = "code"

# "--flag" stays "--flag".
smartquotes = False

html_theme = "furo"
html_title = f"object_detection_mtl {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
html_copy_source = False


class PbtxtLexer(RegexLexer):
    """Highlighting of protobuf's text format, in which configs are written."""

    name = "protobuf text"
    aliases = ["pbtxt"]
    tokens = {
        "root": [
            (r"\s+", Whitespace),
            (r"#.*?$", Comment),
            (r'"[^"\n]*"', String),
            (r"-?\d+(\.\d+)?([eE]-?\d+)?\b", Number),
            (r"(\w+)(?=\s*[:{])", Name.Attribute),
            (r"\w+", Keyword.Constant),
            (r"[{}\[\]:,;.]", Punctuation),
        ]
    }


def setup(app):
    """Register the lexer of config examples."""
    app.add_lexer("pbtxt", PbtxtLexer)
