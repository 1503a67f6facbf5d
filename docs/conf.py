"""Sphinx's settings for the site (`make docs`). The sources are the pages of the repository."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "site")]

project, author = "minivit", "The minivit contributors"
project_copyright = author
repository = f"https://github.com/{os.environ.get('GITHUB_REPOSITORY', 'minivit/minivit')}"

extensions = [
    "api",  # these five are in docs/site/
    "course",
    "docstrings",
    "mathml",
    "repository",
    "myst_nb",
    "sphinx.ext.viewcode",
    "sphinx_external_toc",
    "sphinx_design",
    "sphinx_copybutton",
]
include_patterns = [
    *("docs/*.md", "docs/api/*.rst", "docs/api/**/*.rst"),
    *("notebooks/*.ipynb", "notebooks/*.md", "notebooks/solutions/*.ipynb"),
    *("benchmarks/README.md", "benchmarks/results/*.md", "data/README.md"),
    *("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"),
]
exclude_patterns = [".*", "build", "runs", "minivit", "tests", "notebooks/runs"]
external_toc_path = "docs/site/toc.yml"

nb_custom_formats = {".ipynb": ["course.read", {}, False]}
nb_execution_mode = "off"
nb_ipywidgets_js = {}
nb_code_prompt_show = "Show the code of the figure"
nb_code_prompt_hide = "Hide the code of the figure"
highlight_language = "text"  # a block without a language contains commands
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]  # Python in which … stands for omitted code

default_role = "py:obj"
smartquotes = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
add_module_names = False
maximum_signature_line_length = 210  # including module names, which are not shown

html_theme = "furo"
html_title = "minivit"
html_static_path = ["site/static"]
html_css_files = ["site.css"]
html_copy_source = False
html_use_index = False
html_domain_indices = False
html_show_sphinx = False
colors = {"brand-primary": "#0072b2", "brand-content": "#00619a"}
dark = {"brand-primary": "#66b8e8", "brand-content": "#66b8e8"}
html_theme_options = {
    "light_css_variables": {
        **{f"color-{name}": color for name, color in colors.items()},
        "color-background-secondary": "#fbfaf8",
        "color-sidebar-background-border": "#e4e0da",
        "color-api-name": "#1c1b1a",
    },
    "dark_css_variables": {
        **{f"color-{name}": color for name, color in dark.items()},
        "color-background-primary": "#161514",
        "color-background-secondary": "#1b1a19",
        "color-sidebar-background-border": "#3b3936",
        "color-api-name": "#efece7",
    },
}
