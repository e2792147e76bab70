"""The documentation site: pages in Markdown, and the library's reference from its docstrings. `make docs` builds it.

It needs no network: no inventories of other projects are fetched, and the theme brings its own fonts and scripts.
"""

import re
import tomllib
from importlib.metadata import version as installed_version
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

from tools.reference_docs import commands_page, routes_page

ROOT = Path(__file__).resolve().parent.parent
SOURCE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Source"]

PAGES = {"reference/commands": commands_page, "reference/routes": routes_page}

project = "Authmint"
author = "The Authmint authors"
project_copyright = author
version = release = installed_version("authmint-service")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["decisions/template.md"]
default_role = "code"
myst_heading_anchors = 4
myst_links_external_new_tab = False

autodoc_class_signature = "separated"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
python_use_unqualified_type_names = True

# Types of other packages, and of the library's inside: there is nothing here that a link could lead to.
nitpick_ignore_regex = [
    ("py:.*", r"(collections\.abc|fastapi|httpx2?|pathlib|starlette|typing)\..*"),
    ("py:.*", r"authmint\.(bearer_auth\.(AllowedSubject|AuthState)|jose\.keys\.\w+|metadata\.IssuerMetadata|testing\.Tokens)"),
    ("py:.*", r"authmint\.(key_sets\._KeysByName|revocation_list\.RevocationCheck)"),
]

html_theme = "furo"
html_title = f"Authmint {release}"
html_theme_options = {"top_of_page_buttons": ["view"], "source_view_link": f"{SOURCE}/blob/main/docs/{{filename}}"}
html_show_sphinx = False

_LINK = re.compile(r"(\]\()((?![a-z]+:|#)[^)\s]+)(\))")
_PARAMETER = re.compile(r"\s*`\w+`(?:, `\w+`)*: ")


def link_to_sources(app: Sphinx, name: str, source: list[str]) -> None:
    """Lead links to files outside `docs/` to the repository, as a reader of the repository has them beside the page."""
    folder = (Path(app.srcdir) / name).parent

    def absolute(found: "re.Match[str]") -> str:
        before, target, after = found.groups()
        path = (folder / target.partition("#")[0]).resolve()
        is_page = path.is_relative_to(app.srcdir) and str(path.relative_to(app.srcdir)) not in exclude_patterns
        if is_page:
            return found.group()
        return f"{before}{SOURCE}/blob/main/{path.relative_to(ROOT)}{after}"

    source[0] = _LINK.sub(absolute, source[0])


def add_what_programs_say(_app: Sphinx, name: str, source: list[str]) -> None:
    """Complete the pages of commands and routes."""
    if name in PAGES:
        source[0] += "\n" + PAGES[name]()


def list_parameters(_app: Sphinx, _what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Make a list of the lines "`name`: meaning", which stand below each other in our docstrings."""
    written: list[str] = []
    for line in lines:
        is_parameter = _PARAMETER.match(line) is not None
        if is_parameter and written and written[-1] and not written[-1].startswith("- "):
            written.append("")
        continues = bool(line.strip()) and bool(written) and written[-1].startswith(("- ", "  "))
        written.append(f"- {line.strip()}" if is_parameter else f"  {line.strip()}" if continues else line)
    lines[:] = written


def setup(app: Sphinx) -> None:
    # A diagram is shown as its text, which can be read: a program that draws it would come from another host.
    app.add_lexer("mermaid", TextLexer)
    app.connect("source-read", link_to_sources)
    app.connect("source-read", add_what_programs_say)
    app.connect("autodoc-process-docstring", list_parameters)
