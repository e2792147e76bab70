"""The command `authmint`: `explain` a token that a service refuses, and `doctor` to check an issuer and its services.

Exit codes: 0 the token is valid, or every check passed; 1 it is not, or one did not; 2 wrong usage.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from authmint.checks import Check
from authmint.doctor import list_checks
from authmint.errors import ConfigurationError
from authmint.events import noop
from authmint.explain import Explanation, explain
from authmint.fetching import check_url
from authmint.issuers import Issuer
from authmint.key_history import fetch_key_history
from authmint.key_sets import KeySet

COLOURS = {True: "32", False: "31", None: "33"}
SIGNS = {True: "ok", False: "NO", None: "--"}
MAX_INPUT_LENGTH = 65_536
"""Characters that are read: a token is shorter than this."""


class UsageError(Exception):
    """The command cannot run with these arguments; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except (UsageError, ConfigurationError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return status


def run_explain(options: argparse.Namespace) -> int:
    """Run `authmint explain`."""
    token = parse_token(_read_input(options.file))
    if not token:
        raise UsageError("There is no token in the input: it is read from the file, or from standard input.")
    keys = _keys(options.issuer, options.jwks_file)
    # With a file of keys the issuer is not asked: it may be unreachable from here.
    history = None if keys is None or options.jwks_file else partial(fetch_key_history, options.issuer)
    checked_with = {"issuer": options.issuer, "audience": options.audience, "leeway": options.leeway}
    found = asyncio.run(explain(token, keys=keys, history=history, **checked_with))
    sys.stdout.write(_as_json(found) if options.json else _as_text(found, coloured=sys.stdout.isatty()))
    return 0 if found.is_valid else 1


def run_doctor(options: argparse.Namespace) -> int:
    """Run `authmint doctor`."""
    return asyncio.run(_run_checks(options))


async def _run_checks(options: argparse.Namespace) -> int:
    found: list[tuple[str, Check]] = []
    for subject, checks in list_checks(options.issuer, options.resource):
        if not options.json:
            sys.stdout.write(f"{_printable(subject)}\n")
        async for check in checks:
            found.append((subject, check))
            if not options.json:
                # At once: a check of a server that does not respond takes seconds.
                sys.stdout.write(f"  {_line(check, coloured=sys.stdout.isatty())}\n")
                sys.stdout.flush()
    is_ok = all(check.passed is not False for _, check in found)
    if options.json:
        members = [{"subject": subject} | _members(check) for subject, check in found]
        sys.stdout.write(json.dumps({"ok": is_ok, "checks": members}, indent=2) + "\n")
    else:
        sys.stdout.write("\nEvery check passed.\n" if is_ok else "\nNot every check passed: see the lines with NO.\n")
    return 0 if is_ok else 1


def parse_token(text: str) -> str:
    """Return the token in a line like `Authorization: Bearer …`, in `Bearer …`, in a token response, or by itself.

    Raise UsageError for JSON without an access token.
    """
    if text.lstrip().startswith("{"):
        return _read_token_response(text)
    words = text.split()
    return words[-1] if words else ""


def _read_token_response(text: str) -> str:
    try:
        members = json.loads(text)
    except ValueError:
        members = {}
    token = members.get("access_token") if isinstance(members, dict) else None
    if not isinstance(token, str):
        raise UsageError("The input looks like JSON and has no access_token: give a token, a header line or a token response.")
    return token


def _read_input(file: str | None) -> str:
    if file in {None, "-"}:
        return sys.stdin.read(MAX_INPUT_LENGTH)
    try:
        with Path(str(file)).open(encoding="utf-8", errors="replace") as opened:
            return opened.read(MAX_INPUT_LENGTH)
    except (OSError, ValueError) as error:
        # The argument is not repeated: it may be a token by mistake.
        reason = error.strerror if isinstance(error, OSError) else "this is no name of a file"
        raise UsageError(
            f"The file cannot be read ({reason}). A token is read from a file or from standard input, "
            "and is never an argument: other users of this computer can see arguments."
        ) from error


def _keys(issuer: str | None, jwks_file: str | None) -> KeySet | None:
    if issuer is None:
        return None
    source = Issuer(url=check_url(issuer, "--issuer"), jwks_file=jwks_file)
    return source.keys(clock=None, observer=noop, on_metadata=lambda _: None)


def _as_json(found: Explanation) -> str:
    checks = [_members(one) for one in found.checks]
    content = {"valid": found.is_valid, "checks": checks, "header": found.header, "claims": found.claims}
    return json.dumps(content, ensure_ascii=True, indent=2) + "\n"


def _as_text(found: Explanation, *, coloured: bool) -> str:
    lines = [_line(check, coloured=coloured) for check in found.checks]
    if found.claims:
        lines += ["", "header  " + json.dumps(found.header), "claims  " + json.dumps(found.claims)]
    lines += ["", _conclusion(found)]
    return "\n".join(lines) + "\n"


def _conclusion(found: Explanation) -> str:
    if found.is_valid:
        return "A service would accept it."
    if any(check.passed is False for check in found.checks):
        return "A service would refuse it."
    return "No check failed, but those with -- were not made: see their lines, and the options --issuer and --audience."


def _members(check: Check) -> dict[str, object]:
    return {"name": check.name, "passed": check.passed, "message": check.message}


def _line(check: Check, *, coloured: bool) -> str:
    sign = f"\x1b[{COLOURS[check.passed]}m{SIGNS[check.passed]}\x1b[0m" if coloured else SIGNS[check.passed]
    return f"{sign}  {check.name:<10} {_printable(check.message)}"


def _printable(text: str) -> str:
    # Printable ASCII alone, so that no text of a token or of a server can control the terminal.
    return "".join(one if " " <= one <= "~" else one.encode("unicode_escape").decode() for one in text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="authmint", description="Tools for services that Authmint protects.")
    parser.add_argument("--version", action="version", version=f"authmint {version('authmint')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    explaining = commands.add_parser("explain", help="explain why a service would refuse a token")
    explaining.set_defaults(run=run_explain)
    explaining.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="a file with the token, a header line or a token response; without it, or with -, standard input",
    )
    explaining.add_argument("--issuer", help="the issuer your service trusts; its keys are fetched")
    explaining.add_argument("--audience", action="append", help="your service's name; may be repeated")
    explaining.add_argument("--jwks-file", help="the issuer's keys, for a computer that cannot fetch them")
    explaining.add_argument("--leeway", type=int, default=30, help="seconds that clocks may be apart (30)")
    explaining.add_argument("--json", action="store_true", help="write JSON")
    checking = commands.add_parser("doctor", help="check an issuer and its services from outside, as their clients see them")
    checking.set_defaults(run=run_doctor)
    checking.add_argument("--issuer", required=True, help="the issuer's URL, as it stands in iss")
    checking.add_argument("--resource", action="append", default=[], help="a protected URL of a service; may be repeated")
    checking.add_argument("--json", action="store_true", help="write JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
