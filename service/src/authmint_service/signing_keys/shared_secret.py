"""The key ring of a shared secret (HS256), the smallest set-up."""

import re
from collections.abc import Callable, Mapping, Sequence

from authmint.errors import InvalidToken, IssuerUnavailable, TemporarilyUnavailable
from authmint.jose import VerifyingKey
from authmint_service.secret_keys import SecretKeys
from authmint_service.signing_keys.ring import NONE_USABLE, PublishedDocument
from authmint_service.signing_keys.signer import SharedSecretSigner, TokenSigner
from authmint_service.signing_keys.stored_key import StoredKey

OWN_KEY_LABEL = "issuer-token/v1"
"""Under which the keys of tokens for the issuer alone are derived."""


KID_PREFIX = "issuer-"
_KID = re.compile(rf"{KID_PREFIX}([0-9]{{1,3}})")
_NO_KEYS: Sequence[StoredKey] = ()


class OwnSecretKeySet:
    """The keys of tokens that only the issuer makes and takes, for a set-up where others could make the rest."""

    def __init__(self, secrets: SecretKeys, has_other: Callable[[int], bool]) -> None:
        """`secrets`: derived keys of this service, which leave it never.

        `has_other`: returns whether only other processes have the key of an id.
        """
        signers = {key_id: SharedSecretSigner(secret, kid=f"{KID_PREFIX}{key_id}") for key_id, secret in secrets.items()}
        self._secrets, self._has_other = secrets, has_other
        self._signers = {key_id: TokenSigner(signer) for key_id, signer in signers.items()}
        self._keys = {signer.kid: signer.verifying_key for signer in signers.values()}

    @property
    def signer(self) -> TokenSigner:
        """The signer of the key that all processes have. Raise DatabaseUnavailable while that is not known."""
        return self._signers[self._secrets.current_id]

    def is_elsewhere(self, kid: str | None) -> bool:
        """Return whether only other processes have the key."""
        named = None if kid is None or kid in self._keys else _KID.fullmatch(kid)
        return named is not None and self._has_other(int(named[1]))

    def find(self, kid: str | None) -> VerifyingKey | None:
        # Not left to `fetch`: a verifier fetches no key of HS256.
        if self.is_elsewhere(kid):
            raise IssuerUnavailable("another process has the refresh-token key")
        return None if kid is None else self._keys.get(kid)

    async def fetch(self, kid: str) -> VerifyingKey:
        raise InvalidToken("unknown_key")


class SharedSecretKeyRing:
    """The ring of one shared secret (HS256). It never changes and publishes nothing.

    Each service that has the secret could sign with it. So tokens for the issuer alone, with which accounts are changed, are
    signed with a key that no other service has.
    """

    publishes_keys = False
    problem = None
    silent_lines: Sequence[str] = ()

    def __init__(self, secret: bytes, own: SecretKeys, has_other: Callable[[int], bool] = lambda _: False) -> None:
        """`own`: keys that are derived under OWN_KEY_LABEL. Raise ValueError for a weak secret.

        `has_other`: returns whether only other processes have the own key of an id.
        """
        signer = SharedSecretSigner(secret)
        self.signer, self._key = TokenSigner(signer), signer.verifying_key
        self.own_keys = OwnSecretKeySet(own, has_other)
        self.keys = self.undecrypted = _NO_KEYS
        self.jwks = self.history = PublishedDocument.of({"keys": []})

    @property
    def own_signer(self) -> TokenSigner:
        return self.own_keys.signer

    def is_elsewhere(self, kid: str | None) -> bool:
        return self.own_keys.is_elsewhere(kid)

    def signer_for(self, algorithm: str) -> TokenSigner:
        raise TemporarilyUnavailable(NONE_USABLE)

    def states(self) -> Mapping[tuple[str, str], int]:
        return {}

    def find(self, kid: str | None) -> VerifyingKey | None:
        return None if self.is_elsewhere(kid) else self.own_keys.find(kid) or self._key

    async def fetch(self, _: str) -> VerifyingKey:
        return self._key
