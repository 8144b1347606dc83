"""Configuration of the documentation site: `python -m sphinx docs docs/_build`."""

import importlib.metadata
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

project = "stdp-run"
author = "The stdp-run maintainers"
copyright = author
version = release = importlib.metadata.version("stdp-run")
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx_copybutton"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are stored with outputs, which a slow test executes again

default_role = "code"  # `name` in a docstring
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_use_rtype = False
nitpick_ignore_regex = [
    ("py:.*", r"(?!stdp_run\.).*"),  # other projects: the build is offline
    (
        "py:class",
        r"stdp_run\.(config|engines|evaluation|network|neurons\.base|parameters|rules\.base)\..*",
    ),  # internal
    ("py:class", r"stdp_run\.inference\.first_layer\..*"),
]

html_theme = "furo"
html_title = "stdp-run"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
copybutton_exclude = ".linenos, .gp, .go"


def setup(app):
    """Write the pages that are made of the YAML files and of --help."""
    from settings import write_pages

    write_pages(DOCS.parent / "conf", DOCS / "reference" / "settings")
