"""Write `.env.example` and `docs/settings.md` from the settings themselves. A test compares both files with them."""

import sys
import textwrap
from itertools import groupby
from pathlib import Path

from authmint_service.settings.catalogue import Setting, list_settings
from authmint_service.settings.variables import FOREIGN_NAMES

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 128

EXAMPLE_HEAD = """\
# Every setting of the token service. Copy this file to .env and change what you need. The environment takes precedence over the
# file. Lines that begin with "# AUTHMINT_" show the default, or an example. Durations are seconds. In this repository
# `make docs-settings` writes this file.
"""

PAGE_HEAD = """\
# Settings

Every setting of the token service. Its value comes from the environment, or else from the file `.env` in the folder where the
service starts; `.env.example` is one to start from. A variable that is empty counts as not set. Durations are seconds.
`authmint-service settings` shows what is in effect, and where it comes from, in the development service that runs
or, without one, in a `serve` that is started here.

**Secrets in files.** For every secret `X` there is `X_FILE`, the name of a file that holds it, such as a container secret. Line
ends at the end of the file are left out. To set both is refused.

**Mistakes.** A variable that begins with `AUTHMINT_` and is no setting stops the start, in the environment and in `.env`: most
likely it is misspelt, and would have no effect. A wrong value stops the start too, and so do settings that contradict each
other, white space before or after a value, and a key that stands in two lists. The message has a line for each variable that is
missing or wrong, and never repeats a value.

**Production has a database.** Without `AUTHMINT_DATABASE_URL` nothing starts and nothing is migrated. The embedded PostgreSQL
is for `AUTHMINT_ENVIRONMENT=development`, and for a command that is given its folder.
"""

FOREIGN_HEAD = """\
## Variables of other programs

The service passes over these names, because other programs read them:
"""

SERVICE_LINKS = """\
It also passes over what Kubernetes adds to the environment of pods when there is a Service named `authmint` or `authmint-…`:
`AUTHMINT_SERVICE_HOST`, `AUTHMINT_SERVICE_PORT`, `AUTHMINT_PORT_8000_TCP_ADDR` and the like, and `AUTHMINT_PORT` when its value
begins with `tcp://`; of such a setting the log of the start and `authmint-service settings` say so. `enableServiceLinks: false`
in the pod's specification keeps them out, as in `deploy/kubernetes.yaml`.
"""


def env_example() -> str:
    """Return the text of `.env.example`."""
    return "\n".join([EXAMPLE_HEAD, *(_entry(setting) for setting in list_settings())])


def reference_page() -> str:
    """Return the text of `docs/settings.md`."""
    parts = [PAGE_HEAD]
    for title, settings in groupby(list_settings(), key=lambda setting: setting.title):
        parts += [f"## {title}\n", *(_section(setting) for setting in settings)]
    names = [f"- `{name}`: {reader}" for name, reader in FOREIGN_NAMES.items()]
    return "\n".join([*parts, FOREIGN_HEAD, *names, "", SERVICE_LINKS])


def _entry(setting: Setting) -> str:
    about = setting.description if not setting.values else f"{setting.description} {setting.values}."
    lines = [f"# {line}" for line in _wrap(about, WIDTH - 2)]
    lines.append(f"{'' if setting.is_required and not setting.example else '# '}{setting.variable}={setting.example}")
    if setting.is_secret:
        lines.append(f"# {setting.variable}_FILE=")
    return "\n".join([*lines, ""])


def _section(setting: Setting) -> str:
    facts = [f"{setting.values}."] if setting.values else []
    if setting.default:
        facts.append(f"Default: `{setting.default}`.")
    elif setting.example:
        facts.append(f"Example: `{setting.example}`.")
    if setting.is_required:
        facts.append("Required in production.")
    heading = f"### `{setting.variable}`"
    if setting.is_secret:
        facts.append(f"Secret; or `{setting.variable}_FILE`.")
    text = [*_wrap(setting.description, WIDTH)]
    return "\n".join([heading, "", *text, *(["", *_wrap(" ".join(facts), WIDTH)] if facts else []), ""])


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


FILES = {".env.example": env_example, "docs/settings.md": reference_page}


def main() -> int:
    for name, text in FILES.items():
        (ROOT / name).write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
