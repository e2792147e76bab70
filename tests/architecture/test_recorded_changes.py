"""Each statement that changes accounts, credentials, clients, sessions or keys records an event, or has a written reason."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVICE = ROOT / "service" / "src" / "authmint_service"
TABLES = ("accounts", "account_names", "passwords", "clients", "client_secrets", "sessions", "signing_keys")

CHANGE = re.compile(rf"\b(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+authmint\.(?:{'|'.join(TABLES)})\b")
EVENT = re.compile(r"\bevent\s+AS\s+\(INSERT\s+INTO\s+authmint\.events\b")

REASONS = {
    "account_data/deletion.py _KEEP_ID": "account.deleted, in the same transaction",
    "account_data/deletion.py _KEEP_NAME": "account.deleted, in the same transaction",
    "accounts/store.py _REVOKE_SESSIONS": "account.disabled, in the same transaction",
    "administration/restore.py _REVOKE_SESSIONS": "database.restored, by the same function",
    "clients/secrets.py _MARK_USED": "when a secret was used, which changes nothing",
    "clients/store.py _REVOKE_SESSIONS": "client.disabled or client.deleted, by the same method",
    "passwords/store.py _REVOKE_SESSIONS": "password.changed, in the same transaction",
    "passwords/store.py _REPLACE_HASH": "a newer hash of the same password, made at a sign-in that is recorded",
    "readiness.py PROVE_RIGHT_TO_WRITE": "changes no row: it asks whether one could be changed",
    "retention.py _DELETE_FREED_NAMES": "a name that an account gave up a month ago, which is recorded",
    "revocations/covering.py _COVER": "marks what was revoked, which is recorded, so that the list is shorter",
    "sessions/rotation_store.py _EXTEND": "a repeated refresh, which is counted, not recorded",
    "sessions/rotation_store.py ROTATE": "a refresh is counted, not recorded",
    "sessions/rotation_store.py _RESTORE_PARENT": "undoes a refresh of which no client has the response",
    "sessions/store.py _PRUNE": "deletes what ended by time or was revoked, which is recorded",
    "signing_keys/store.py _CLOSE_GAP": "signing_key.revoked, in the same transaction: undoes the plan of the revoked key",
    "signing_keys/store.py _RETIRE": "signing_key.created or imported, in the same transaction: plans the end of the last",
    "signing_keys/store.py _REENCRYPT": "the same key under another encryption key",
    "signing_keys/store.py _ERASE": "deletes the private half of a key that nothing accepts any more",
}  # fmt: skip
"""By file and name of the statement: why it records no event."""


def statements(path: Path) -> Iterator[tuple[str, str]]:
    """Each text of a module, with the name that it is assigned to or, without one, its line."""
    tree = ast.parse(path.read_text())
    names = {
        id(node.value): target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield names.get(id(node), f"line {node.lineno}"), node.value


def unrecorded(folder: Path) -> set[str]:
    """The changes in a folder that have no event, as `file name`."""
    return {
        f"{path.relative_to(folder)} {name}"
        for path in sorted(folder.rglob("*.py"))
        for name, text in statements(path)
        if CHANGE.search(text) and not EVENT.search(text)
    }


def test_each_change_records_an_event_or_has_a_reason() -> None:
    assert set(REASONS) == unrecorded(SERVICE)


def test_a_statement_with_an_event_has_the_columns_in_their_order() -> None:
    columns = re.compile(
        r"\(kind, actor_kind, actor_id, subject, client_id, request_id, details,\s+"
        r"personal, salt, personal_digest, occurred_at\)"
    )
    recording = [(path, text) for path in SERVICE.rglob("*.py") for _, text in statements(path) if EVENT.search(text)]
    assert len(recording) > 10
    for path, text in recording:
        assert columns.search(text), (path, text)


def test_a_change_without_an_event_is_found(tmp_path: Path) -> None:
    (tmp_path / "roles").mkdir()
    planted = tmp_path / "roles" / "store.py"
    planted.write_text(
        '_GIVE = """\n    UPDATE authmint.accounts SET state = $2 WHERE id = $1\n"""\n'
        '_READ = "SELECT 1 FROM authmint.accounts"\n'
        'def drop():\n    return execute("DELETE FROM authmint.sessions")\n'
    )
    assert {"roles/store.py _GIVE", "roles/store.py line 6"} == unrecorded(tmp_path)
