"""Creates one-time values, and prepares one that was presented for the statement that uses it up."""

import hmac
from dataclasses import dataclass
from datetime import datetime

from authmint_service.database import Database, to_datetime
from authmint_service.one_time_tokens.kinds import Code, Kind, Link, Owner
from authmint_service.secret_keys import SecretKeys

LABEL = "one-time/v1"


@dataclass(frozen=True, slots=True, repr=False)
class PresentedToken:
    """A value that was presented, for the statement that uses it up. Only that statement finds out whether it is valid."""

    kind: str
    digests: tuple[bytes, ...]
    """One for each key that is configured; none if it cannot be valid."""
    owner: Owner

    def values(self, now: float) -> tuple[str, list[bytes], datetime, str | None, str | None]:
        """Return the first parameters of the statement, in the order that this package's docstring has. `now`: seconds."""
        return self.kind, list(self.digests), to_datetime(now), self.owner.account_id, self.owner.client_id


class OneTimeTokens:
    """Creates one-time values, and prepares those that are presented."""

    def __init__(self, database: Database, keys: SecretKeys) -> None:
        """`keys`: those of refresh tokens. Another key is derived from each, so that these rotate with them."""
        self._database, self._keys = database, keys.derive(LABEL)

    # A new code replaces the account's code of the same kind, and has all tries again: throttle who asks for one.
    _INSERT = """
        INSERT INTO authmint.one_time_tokens (digest, kind, account_id, client_id, key_id, tries, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
            ON CONFLICT (account_id, kind) WHERE tries IS NOT NULL
            DO UPDATE SET digest = excluded.digest, key_id = excluded.key_id, tries = excluded.tries,
                          created_at = excluded.created_at, expires_at = excluded.expires_at
    """

    async def create(self, kind: Kind, owner: Owner, now: float) -> str:
        """Store a new value, and return its text. `now`: seconds since the epoch. Raise ValueError if a code has no account."""
        value = kind.form.new_value()
        if isinstance(kind.form, Link):
            text, tries = kind.form.encode(value, owner), None
        elif owner.account_id is None:
            raise ValueError("a code is for an account, which has the tries")
        else:
            text, tries = value.decode(), 0
        digest = self._digest(self._keys[self._keys.current_id], kind, owner, value)
        await self._database.execute(
            self._INSERT, digest, kind.name, owner.account_id, owner.client_id, self._keys.current_id, tries,
            to_datetime(now), to_datetime(now + kind.lifetime),
        )  # fmt: skip
        return text

    def present(self, kind: Kind, text: str, client_id: str | None = None) -> PresentedToken:
        """Prepare a link's value. `client_id`: the client that presents it, if the value must be this client's."""
        if not isinstance(kind.form, Link):
            raise TypeError("a code is presented with its account, which has the tries")
        decoded = kind.form.decode(text)
        if decoded is None:
            return PresentedToken(kind.name, (), Owner())
        value, owner = decoded
        if client_id is not None:
            if owner.account_id is not None:
                return PresentedToken(kind.name, (), Owner())
            owner = Owner(client_id=client_id)
        return self._presented(kind, owner, value)

    # Counted before anything is compared, and in a statement of its own: no later failure takes a try back.
    _COUNT = """
        UPDATE authmint.one_time_tokens SET tries = tries + 1
         WHERE kind = $1 AND account_id = $2 AND tries < $3 AND expires_at > $4
        RETURNING true
    """

    async def present_code(self, kind: Kind, text: str, account_id: str, now: float) -> PresentedToken:
        """Count a try of the account's code, and prepare what was typed. `now`: seconds since the epoch."""
        if not isinstance(kind.form, Code):
            raise TypeError("a link is presented without its account")
        values = kind.name, account_id, kind.form.max_tries, to_datetime(now)
        has_tries = await self._database.fetch_value(self._COUNT, *values) is True
        owner, value = Owner(account_id=account_id), kind.form.decode(text)
        # The same work, whether there is a code or not.
        presented = self._presented(kind, owner, value if value is not None else b"")
        return presented if has_tries and value is not None else PresentedToken(kind.name, (), owner)

    def _presented(self, kind: Kind, owner: Owner, value: bytes) -> PresentedToken:
        return PresentedToken(kind.name, tuple(self._digest(key, kind, owner, value) for key in self._keys.values()), owner)

    @staticmethod
    def _digest(key: bytes, kind: Kind, owner: Owner, value: bytes) -> bytes:
        # Each field after its length, so that no two lists of fields are the same text. Digests are compared by the database:
        # without the key nobody knows the digest of a guess, so the time that it takes says nothing.
        fields = (kind.name.encode(), *owner.fields(), value)
        return hmac.digest(key, b"".join(len(field).to_bytes(2) + field for field in fields), "sha256")
