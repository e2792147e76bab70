"""The secret keys of the service."""

from functools import cached_property
from typing import Annotated, ClassVar

from pydantic import Field

from authmint_service.errors import SettingsError
from authmint_service.secret_keys import SecretKeys, development_secrets
from authmint_service.settings.group import Required, Secret, Spaced, variable
from authmint_service.settings.service import ServiceSettings

ADVICE = 'Set it to "1:" and the output of: openssl rand -base64 32'


class SecretSettings(ServiceSettings):
    """Keys with ids, `id:base64,id:base64,…`. The first that all live processes have is used for what is made from now on."""

    title: ClassVar[str] = "Secret keys"

    key_encryption_keys: Annotated[
        Secret | None,
        Required(ADVICE),
        Spaced(),
        Field(
            description="Encrypts the signing keys in the database: `1:` and the output of `openssl rand -base64 32`. To "
            "rotate, put a new key with another id first, and keep the old one after a comma: `2:…,1:…`. It is used once all "
            "live processes have it. A development start makes one.",
        ),
    ] = None
    refresh_token_keys: Annotated[
        Secret | None,
        Required(ADVICE),
        Spaced(),
        Field(
            description="Keys of the MAC in refresh tokens; written and rotated in the same way. Before a key is removed: "
            "`authmint-service secrets drop`. A development start makes one.",
        ),
    ] = None

    @cached_property
    def encryption_keys(self) -> SecretKeys:
        """Return the keys that encrypt signing keys in the database. Raise SettingsError."""
        return self._keys("key_encryption_keys", self.key_encryption_keys)

    @cached_property
    def refresh_keys(self) -> SecretKeys:
        """Return the keys of the MAC in refresh tokens. Raise SettingsError."""
        return self._keys("refresh_token_keys", self.refresh_token_keys)

    def check_given_keys(self) -> None:
        """Raise SettingsError if one of the keys that are set is wrong. Make nothing that is missing."""
        encryption = [] if self.key_encryption_keys is None else self.encryption_keys.values()
        refresh = [] if self.refresh_token_keys is None else self.refresh_keys.values()
        # A program that is given a key for one purpose must not have the other one too.
        if not set(encryption).isdisjoint(refresh):
            raise SettingsError(
                "AUTHMINT_KEY_ENCRYPTION_KEYS and AUTHMINT_REFRESH_TOKEN_KEYS have a key in common. Each needs keys of its "
                "own: openssl rand -base64 32"
            )

    def _keys(self, field: str, value: Secret | None) -> SecretKeys:
        name = variable(field)
        if value is not None:
            return SecretKeys.parse(value.get_secret_value(), name)
        if self.is_development:
            return SecretKeys.parse(development_secrets(self.data_dir)[name], name)
        raise SettingsError(f"{name} is missing. {ADVICE}")
