"""How Sphinx builds these pages: `make docs`, strictly."""

project = "tissueclock"
author = "the tissueclock team"
copyright = "2026, the tissueclock team"  # noqa: A001 (Sphinx calls it so)
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # parts of DESIGN.md and infra/README.md are taken in below a heading of their own
html_theme = "furo"
html_title = "tissueclock"
html_show_sphinx = False
