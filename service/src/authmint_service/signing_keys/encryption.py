"""Encryption of private keys at rest: AES-256-GCM (NIST SP 800-38D), bound to the `kid` and the algorithm of their row."""

import secrets
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12


class KeyDecryptionError(Exception):
    """A stored key cannot be decrypted. The message names the key and the reason."""


def encrypt(secret: bytes, pem: bytes, *, kid: str, algorithm: str) -> bytes:
    """Encrypt a private key. Return nonce and ciphertext."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(secret).encrypt(nonce, pem, _context(kid, algorithm))


def decrypt(secrets_by_id: Mapping[int, bytes], key_id: int, encrypted: bytes, *, kid: str, algorithm: str) -> bytes:
    """Return the private key as PEM. Raise KeyDecryptionError."""
    if key_id not in secrets_by_id:
        raise KeyDecryptionError(
            f"Signing key {kid} needs the encryption key {key_id}, which AUTHMINT_KEY_ENCRYPTION_KEYS lacks. Add it. If it is "
            "lost, authmint-service keys rotate --emergency makes new signing keys."
        )
    nonce, ciphertext = encrypted[:NONCE_BYTES], encrypted[NONCE_BYTES:]
    try:
        return AESGCM(secrets_by_id[key_id]).decrypt(nonce, ciphertext, _context(kid, algorithm))
    except (InvalidTag, ValueError) as error:
        raise KeyDecryptionError(
            f"Signing key {kid} was not encrypted with the encryption key {key_id} of AUTHMINT_KEY_ENCRYPTION_KEYS, "
            "or its row was changed."
        ) from error


def _context(kid: str, algorithm: str) -> bytes:
    # Authenticated with the key, so that a ciphertext cannot be moved to another row.
    return f"signing-key/v1 {kid} {algorithm}".encode()
