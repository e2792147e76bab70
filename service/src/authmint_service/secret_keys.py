"""Secret keys with ids, so that they can be rotated: `id:base64,id:base64,…`. The first is used for everything new, or, in a
process that serves, the first that all processes have (`processes`).

A key is 32 random bytes. A value that was made with an older key names its id, and can be read while that key is listed.
"""

import base64
import binascii
import fcntl
import hmac
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from authmint.secret_strength import is_guessable
from authmint_service.errors import SettingsError

KEY_BYTES = 32
FINGERPRINT_BYTES = 8
NAMES = ("AUTHMINT_KEY_ENCRYPTION_KEYS", "AUTHMINT_REFRESH_TOKEN_KEYS")


class SecretKeys(Mapping[int, bytes]):
    """Keys by id (1 to 255). The text form has no key."""

    def __init__(self, keys: Mapping[int, bytes], choose: Callable[[], int] | None = None) -> None:
        """`keys`: the first is the current one, unless `choose` returns the id of another."""
        self._keys, self._choose = dict(keys), choose

    @property
    def current_id(self) -> int:
        """The id of the key for what is made from now on."""
        return next(iter(self._keys)) if self._choose is None else self._choose()

    def choosing(self, choose: Callable[[], int]) -> "SecretKeys":
        """Return the same keys, of which `choose` returns the id of the current one."""
        return SecretKeys(self._keys, choose)

    @classmethod
    def parse(cls, text: str, name: str) -> "SecretKeys":
        """Return the keys in the text of the setting `name`. Raise SettingsError."""
        keys: dict[int, bytes] = {}
        for entry in filter(None, (part.strip() for part in text.split(","))):
            key_id, colon, encoded = entry.partition(":")
            if not colon or not key_id.isascii() or not key_id.isdecimal() or not 1 <= int(key_id[:4]) <= 255:
                raise SettingsError(f'{name} is wrong: each key is written as "id:key", with an id from 1 to 255.')
            if int(key_id) in keys:
                raise SettingsError(f"{name} is wrong: the id {int(key_id)} is there twice.")
            keys[int(key_id)] = _decode(encoded.strip(), name)
        if not keys:
            raise SettingsError(f'{name} is empty. Set it to "1:" and the output of: openssl rand -base64 32')
        return cls(keys)

    @property
    def fingerprints(self) -> Mapping[int, bytes]:
        """By id: eight bytes that tell one key from another, and nothing of the key. They may be stored."""
        return {key_id: _hkdf(key, b"fingerprint/v1")[:FINGERPRINT_BYTES] for key_id, key in self._keys.items()}

    def derive(self, label: str) -> "SecretKeys":
        """Return keys for another purpose, with the same ids (HKDF-SHA256, RFC 5869). One tells nothing about another."""
        derived = {key_id: _hkdf(key, label.encode()) for key_id, key in self._keys.items()}
        return SecretKeys(derived, self._choose)

    def __getitem__(self, key_id: int) -> bytes:
        return self._keys[key_id]

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"SecretKeys(ids={list(self._keys)})"


def _hkdf(key: bytes, info: bytes) -> bytes:
    # One block, as 32 bytes are wanted. Written here, as a command that needs no signature imports no cryptography.
    extracted = hmac.digest(bytes(KEY_BYTES), key, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def _decode(encoded: str, name: str) -> bytes:
    try:
        text = encoded.replace("-", "+").replace("_", "/").rstrip("=")
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise SettingsError(f"{name} is wrong: a key is not base64. Make one with: openssl rand -base64 32") from None
    if len(key) != KEY_BYTES:
        raise SettingsError(f"{name} is wrong: a key has {len(key)} bytes, not 32. Make one with: openssl rand -base64 32")
    # Both: a sentence that happens to be base64 stands for bytes that look random.
    if is_guessable(key) or is_guessable(encoded.encode()):
        raise SettingsError(f"{name} is wrong: a key is not random, and can be guessed. Make one with: openssl rand -base64 32")
    return key


def check_shared_secret(text: str) -> bytes:
    """Return the bytes of AUTHMINT_SHARED_SECRET, the key of HS256 (RFC 7518, section 3.2). Raise SettingsError."""
    secret, name, advice = text.encode(), "AUTHMINT_SHARED_SECRET", "Make one with: openssl rand -base64 32"
    if len(secret) < KEY_BYTES:
        raise SettingsError(f"{name} is wrong: it has {len(secret)} bytes, and HS256 needs at least 32. {advice}")
    if is_guessable(secret):
        raise SettingsError(f"{name} is wrong: it is not random, and can be guessed. {advice}")
    return secret


def development_secrets(data_dir: Path) -> dict[str, str]:
    """Return the secrets of a development start, by variable. The first start makes them, in `<data_dir>/secrets.env`.

    Raise SettingsError if the folder cannot be used.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(data_dir / "secrets.env", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "r+", encoding="utf-8") as stream:
            # Two processes may start at the same time: the second reads what the first has written.
            fcntl.flock(stream, fcntl.LOCK_EX)
            known = dict(line.split("=", 1) for line in stream.read().splitlines() if "=" in line)
            missing = [name for name in NAMES if name not in known]
            known.update((name, f"1:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}") for name in missing)
            stream.writelines(f"{name}={known[name]}\n" for name in missing)
    except OSError as error:
        raise SettingsError(f"AUTHMINT_DATA_DIR ({data_dir}) cannot be used: {error.strerror}.") from error
    return known
