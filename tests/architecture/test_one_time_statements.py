"""A one-time value is used up in one way: by the common table expression that `one_time_tokens` gives."""

import re

from authmint_service import one_time_tokens
from tests.architecture.test_statements import statements

OWNERS = ("authmint_service/one_time_tokens/", "authmint_service/retention.py", "alembic/")


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def use() -> str:
    """The expression in the package's docstring."""
    found = re.search(r"WITH used AS \(DELETE.*?RETURNING account_id, client_id\)", one_time_tokens.__doc__ or "", re.DOTALL)
    assert found is not None
    return squeezed(found[0])


def is_wrong(path: str, statement: str) -> bool:
    """Whether a statement reads, changes or deletes values in another way."""
    if "one_time_tokens" not in statement or any(owner in path for owner in OWNERS):
        return False
    text = squeezed(statement)
    return not text.startswith(use()) or "one_time_tokens" in text.removeprefix(use())


def test_each_statement_that_uses_a_one_time_value_does_it_in_the_one_way() -> None:
    assert [] == [(path, text) for path, text in statements() if is_wrong(path, text)]


def test_a_statement_that_uses_a_value_in_another_way_is_found() -> None:
    right = use() + " UPDATE authmint.passwords SET hash = $6 FROM used"
    assert not is_wrong("service/src/authmint_service/passwords/store.py", right)
    for wrong in (
        right.replace("kind = $1 AND ", ""),
        right.replace(" AND expires_at > $3", ""),
        right.replace("DELETE FROM", "SELECT FROM"),
        "SELECT 1 FROM authmint.one_time_tokens WHERE digest = $1",
        right + ", authmint.one_time_tokens",
    ):
        assert is_wrong("service/src/authmint_service/passwords/store.py", wrong), wrong
