"""Every statement that changes what processes cache runs in a change transaction, in a function that records the change."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SERVICE = Path(__file__).parents[2] / "service" / "src" / "authmint_service"
CACHED = ("clients", "client_secrets", "signing_keys")
WRITES = re.compile(
    rf"\b(?:INSERT INTO|UPDATE|DELETE FROM)\s+authmint\.(?:{'|'.join(CACHED)})\b|\bUPDATE\s+authmint\.accounts SET state\b"
)
"""What is cached, and whether an account may have tokens."""
NOT_CACHED = {"_MARK_USED": "when a secret was used is in no cache"}
"""By name: why a statement on such a table is no change."""


def writing_names(tree: ast.AST) -> set[str]:
    """The names of the literals of such statements."""
    return {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name) and WRITES.search(node.value.value)
    }


def mistakes(text: str) -> Iterator[str]:
    """Describe each use of such a statement that is not in a change transaction, or that records nothing."""
    tree = ast.parse(text)
    names = writing_names(tree) - set(NOT_CACHED)
    for function in ast.walk(tree):
        if not isinstance(function, ast.AsyncFunctionDef):
            continue
        for call in ast.walk(function):
            if not isinstance(call, ast.Call) or not names & {getattr(value, "attr", None) for value in call.args}:
                continue
            if not ast.unparse(call.func).startswith("change.connection."):
                yield f"{function.name}: {ast.unparse(call.func)} is not `change.connection`"
            if "change.record(" not in ast.unparse(function):
                yield f"{function.name} records no change"


def test_every_change_of_a_cached_table_is_recorded() -> None:
    texts = {str(path.relative_to(SERVICE)): path.read_text() for path in sorted(SERVICE.rglob("*.py"))}
    assert 8 <= sum(len(writing_names(ast.parse(text))) for text in texts.values())
    assert [] == [(path, mistake) for path, text in texts.items() for mistake in mistakes(text)]


def test_no_statement_of_this_kind_is_without_a_name() -> None:
    for path in SERVICE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        found = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and WRITES.search(str(node.value))]
        assert len(found) == len(writing_names(tree)), path


def test_a_change_that_is_not_recorded_is_found() -> None:
    planted = """
class Store:
    _RENAME = "UPDATE authmint.clients SET name = $2"
    async def rename(self):
        await self._database.execute(self._RENAME, "a", "b")
    async def rename_in_transaction(self, change):
        await change.connection.execute(self._RENAME, "a", "b")
    async def rename_well(self, change):
        await change.connection.execute(self._RENAME, "a", "b")
        await change.record("client", "a", takes=False)
"""
    assert [
        "rename: self._database.execute is not `change.connection`", "rename records no change",
        "rename_in_transaction records no change",
    ] == list(mistakes(planted))  # fmt: skip
