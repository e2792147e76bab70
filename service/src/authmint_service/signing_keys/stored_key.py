"""A signing key as its row has it, and the reader that decrypts rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from authmint.jose import SigningKey
from authmint_service.database import Record
from authmint_service.secret_keys import SecretKeys
from authmint_service.signing_keys.encryption import KeyDecryptionError, decrypt
from authmint_service.signing_keys.schedule import Schedule
from authmint_service.signing_keys.signer import LocalSigner, Signer


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key's row. Its times stay for ever; `signer` is there while the key is published and can be decrypted."""

    kid: str
    algorithm: str
    schedule: Schedule
    encryption_key_id: int
    signer: Signer | None = None
    problem: str | None = None
    """Why the key cannot be used, for the log."""

    def public_jwk(self) -> dict[str, str] | None:
        """Return the public key, or None without a signer."""
        return None if self.signer is None else self.signer.public_jwk()


@dataclass(frozen=True, slots=True)
class LoadedKeys:
    """All keys, the newest first, as one statement saw them."""

    keys: tuple[StoredKey, ...]
    n: int
    """The authorization version that the statement saw; 0 without keys."""


class StoredKeyReader:
    """Makes keys of rows. Each is decrypted once: to read an RSA key takes milliseconds."""

    def __init__(self, secrets: SecretKeys) -> None:
        self._secrets = secrets
        self._signers: dict[tuple[str, str, int, bytes], Signer] = {}

    def read(self, rows: Sequence[Record]) -> tuple[StoredKey, ...]:
        """Return the keys of all rows; one that cannot be decrypted has a `problem`."""
        keys = tuple(map(self._read_row, rows))
        # A key that was erased in the database leaves the memory too.
        present = {key.kid for key in keys if key.signer is not None}
        self._signers = {name: signer for name, signer in self._signers.items() if name[0] in present}
        return keys

    def decrypt(self, row: Record) -> bytes:
        """Return the private key of a row as PEM. Raise KeyDecryptionError."""
        kid, algorithm = row["kid"], row["algorithm"]
        return decrypt(self._secrets, row["encryption_key_id"], row["encrypted_key"], kid=kid, algorithm=algorithm)

    def _read_row(self, row: Record) -> StoredKey:
        times = {name: _seconds(row[name]) for name in ("retired_at", "withdrawn_at", "revoked_at")}
        schedule = Schedule(published_at=row["published_at"].timestamp(), active_from=row["active_from"].timestamp(), **times)
        key = StoredKey(row["kid"], row["algorithm"], schedule, row["encryption_key_id"])
        if row["encrypted_key"] is None:
            return key
        try:
            return replace(key, signer=self._signer(row))
        except KeyDecryptionError as error:
            return replace(key, problem=str(error))

    def _signer(self, row: Record) -> Signer:
        name = row["kid"], row["algorithm"], row["encryption_key_id"], bytes(row["encrypted_key"])
        if name not in self._signers:
            pem = self.decrypt(row)
            try:
                self._signers[name] = LocalSigner(SigningKey.from_pem(pem, row["algorithm"]))
            except ValueError as error:
                raise KeyDecryptionError(f"Signing key {row['kid']} does not fit its algorithm.") from error
        return self._signers[name]


def _seconds(value: datetime | None) -> float | None:
    return None if value is None else value.timestamp()
