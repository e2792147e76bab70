"""What the test gives a program, and what the program reports: a JSON object on standard input, another one on standard output.

Programs report the name of each step, as the page has it, with what the step brought.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

given: dict[str, Any] = json.load(sys.stdin)


def report(**steps: Any) -> None:
    print(json.dumps(steps))


def validate(
    verify: Callable[[str], str | None], *refusals: type[Exception], tokens: str = "tokens", step: str = "validation"
) -> None:
    """Report whom `verify` takes the bearer of each token for. None, and an exception of `refusals`, is a refusal."""

    def bearer(token: str) -> str | None:
        try:
            return verify(token)
        except refusals:
            return None

    report(**{step: {name: bearer(token) for name, token in given[tokens].items()}})
