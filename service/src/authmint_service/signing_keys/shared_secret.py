"""The key ring of a shared secret (HS256), the smallest set-up."""

from collections.abc import Mapping, Sequence

from authmint.errors import InvalidToken, TemporarilyUnavailable
from authmint.jose import VerifyingKey
from authmint_service.secret_keys import SecretKeys
from authmint_service.signing_keys.ring import NONE_USABLE, PublishedDocument
from authmint_service.signing_keys.signer import SharedSecretSigner, TokenSigner
from authmint_service.signing_keys.stored_key import StoredKey

OWN_KEY_LABEL = "issuer-token/v1"
"""Under which the keys of tokens for the issuer alone are derived."""


class OwnSecretKeySet:
    """The keys of tokens that only the issuer makes and takes, for a set-up where others could make the rest."""

    def __init__(self, secrets: SecretKeys) -> None:
        """`secrets`: derived keys of this service, which leave it never."""
        signers = {key_id: SharedSecretSigner(secret, kid=f"issuer-{key_id}") for key_id, secret in secrets.items()}
        self.signer = TokenSigner(signers[secrets.current_id])
        self._keys = {signer.kid: signer.verifying_key for signer in signers.values()}

    def find(self, kid: str | None) -> VerifyingKey | None:
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

    def __init__(self, secret: bytes, own: SecretKeys) -> None:
        """`own`: keys that are derived under OWN_KEY_LABEL. Raise ValueError for a weak secret."""
        signer = SharedSecretSigner(secret)
        self.signer, self._key = TokenSigner(signer), signer.verifying_key
        self.own_keys = OwnSecretKeySet(own)
        self.own_signer = self.own_keys.signer
        self.keys: Sequence[StoredKey] = ()
        self.jwks = self.history = PublishedDocument.of({"keys": []})

    def signer_for(self, algorithm: str) -> TokenSigner:
        raise TemporarilyUnavailable(NONE_USABLE)

    def states(self) -> Mapping[tuple[str, str], int]:
        return {}

    def find(self, kid: str | None) -> VerifyingKey | None:
        return self.own_keys.find(kid) or self._key

    async def fetch(self, _: str) -> VerifyingKey:
        return self._key
