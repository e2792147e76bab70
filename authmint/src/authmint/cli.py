"""`authmint explain`: why would a service refuse this token? `authmint doctor`: are an issuer and its services in order?

Exit codes: 0 the token is good, or everything is in order; 1 it is not, or (a token) could not be checked; 2 wrong usage.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from functools import partial

from authmint.checks import Check
from authmint.doctor import examine
from authmint.errors import ConfigurationError
from authmint.events import ignore
from authmint.explain import Explanation, explain
from authmint.fetching import check_url
from authmint.issuers import Issuer
from authmint.key_history import fetch_key_history
from authmint.key_sets import KeySet

COLOURS = {True: "32", False: "31", None: "33"}
SIGNS = {True: "ok", False: "NO", None: "--"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command."""
    options = _parser().parse_args(arguments)
    status: int = options.run(options)
    return status


def run_explain(options: argparse.Namespace) -> int:
    """`authmint explain`: its exit code."""
    token = read_token(options.token if options.token not in {None, "-"} else sys.stdin.read(65_536))
    if not token:
        sys.stderr.write("No token: name it as an argument, or send it through standard input.\n")
        return 2
    try:
        keys = _keys(options.issuer, options.jwks_file)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    # Whoever names a file of keys cannot, or does not want to, reach the issuer.
    history = None if keys is None or options.jwks_file else partial(fetch_key_history, options.issuer)
    checked_with = {"issuer": options.issuer, "audience": options.audience, "leeway": options.leeway}
    found = asyncio.run(explain(token, keys=keys, history=history, **checked_with))
    sys.stdout.write(_as_json(found) if options.json else _as_text(found, coloured=sys.stdout.isatty()))
    return 0 if found.is_good else 1


def run_doctor(options: argparse.Namespace) -> int:
    """`authmint doctor`: its exit code."""
    return asyncio.run(_examine(options))


async def _examine(options: argparse.Namespace) -> int:
    found: list[tuple[str, Check]] = []
    for subject, checks in examine(options.issuer, options.resource):
        if not options.json:
            sys.stdout.write(f"{_plain(subject)}\n")
        async for check in checks:
            found.append((subject, check))
            if not options.json:
                # At once: each may take seconds when somebody does not answer.
                sys.stdout.write(f"  {_line(check, coloured=sys.stdout.isatty())}\n")
                sys.stdout.flush()
    in_order = all(check.held is not False for _, check in found)
    if options.json:
        members = [{"subject": subject} | _members(check) for subject, check in found]
        sys.stdout.write(json.dumps({"in_order": in_order, "checks": members}, indent=2) + "\n")
    else:
        sys.stdout.write("\nEverything is in order.\n" if in_order else "\nSomething is not in order: see the lines with NO.\n")
    return 0 if in_order else 1


def read_token(text: str) -> str:
    """The token in a line like `Authorization: Bearer …`, in `Bearer …`, or by itself."""
    words = text.split()
    return words[-1] if words else ""


def _keys(issuer: str | None, jwks_file: str | None) -> KeySet | None:
    if issuer is None:
        return None
    source = Issuer(url=check_url(issuer, "--issuer"), jwks_file=jwks_file)
    return source.keys(clock=None, observer=ignore, on_metadata=lambda _: None)


def _as_json(found: Explanation) -> str:
    checks = [_members(one) for one in found.checks]
    content = {"good": found.is_good, "checks": checks, "header": found.header, "claims": found.claims}
    return json.dumps(content, ensure_ascii=True, indent=2) + "\n"


def _as_text(found: Explanation, *, coloured: bool) -> str:
    lines = [_line(check, coloured=coloured) for check in found.checks]
    if found.claims:
        lines += ["", "header  " + json.dumps(found.header), "claims  " + json.dumps(found.claims)]
    lines += ["", "A service would accept it." if found.is_good else "A service would refuse it, or could not tell."]
    return "\n".join(lines) + "\n"


def _members(check: Check) -> dict[str, object]:
    return {"check": check.name, "held": check.held, "message": check.message}


def _line(check: Check, *, coloured: bool) -> str:
    sign = f"\x1b[{COLOURS[check.held]}m{SIGNS[check.held]}\x1b[0m" if coloured else SIGNS[check.held]
    return f"{sign}  {check.name:<10} {_plain(check.message)}"


def _plain(text: str) -> str:
    # Printable ASCII alone: whatever a token or a server says, it shall not steer the terminal.
    return "".join(one if " " <= one <= "~" else one.encode("unicode_escape").decode() for one in text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="authmint", description="Tools for services that Authmint protects.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    explaining = commands.add_parser("explain", help="tell why a service would refuse a token")
    explaining.set_defaults(run=run_explain)
    explaining.add_argument(
        "token", nargs="?", help="the token, or a header line; without it, or with -, standard input is read"
    )
    explaining.add_argument("--issuer", help="the issuer your service trusts; its keys are fetched")
    explaining.add_argument("--audience", help="your service's name")
    explaining.add_argument("--jwks-file", help="the issuer's keys, for a machine that cannot fetch them")
    explaining.add_argument("--leeway", type=int, default=30, help="seconds that clocks may be apart (30)")
    explaining.add_argument("--json", action="store_true", help="answer in JSON")
    examining = commands.add_parser("doctor", help="look at an issuer and at services from outside, as their clients do")
    examining.set_defaults(run=run_doctor)
    examining.add_argument("--issuer", required=True, help="the issuer's URL, as it stands in iss")
    examining.add_argument("--resource", action="append", default=[], help="a protected URL of a service; may be repeated")
    examining.add_argument("--json", action="store_true", help="answer in JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
