"""The secret keys of the service. Each may come from a file instead: `X_FILE`."""

from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from authmint_service.errors import SettingsError
from authmint_service.secret_keys import SecretKeys, development_secrets
from authmint_service.settings.group import read_secret, variable
from authmint_service.settings.service import ServiceSettings


class SecretSettings(ServiceSettings):
    """Keys with ids, `id:base64,id:base64,…`. The first is used for what is made from now on."""

    key_encryption_keys: Annotated[
        SecretStr | None, Field(description="Keys that encrypt the signing keys in the database: id:base64,…")
    ] = None
    key_encryption_keys_file: Annotated[Path | None, Field(description="File with the key encryption keys.")] = None
    refresh_token_keys: Annotated[SecretStr | None, Field(description="Keys of the MAC in refresh tokens: id:base64,…")] = None
    refresh_token_keys_file: Annotated[Path | None, Field(description="File with the refresh token keys.")] = None

    @cached_property
    def encryption_keys(self) -> SecretKeys:
        """Return the keys that encrypt signing keys in the database. Raise SettingsError."""
        return self._keys("key_encryption_keys", self.key_encryption_keys, self.key_encryption_keys_file)

    @cached_property
    def refresh_keys(self) -> SecretKeys:
        """Return the keys of the MAC in refresh tokens. Raise SettingsError."""
        return self._keys("refresh_token_keys", self.refresh_token_keys, self.refresh_token_keys_file)

    def _keys(self, field: str, value: SecretStr | None, file: Path | None) -> SecretKeys:
        name = variable(field)
        text = read_secret(field, value, file)
        if text is None and self.is_development:
            text = development_secrets(self.data_dir)[name]
        if text is None:
            raise SettingsError(f'{name} is missing. Set it to "1:" and the output of: openssl rand -base64 32')
        return SecretKeys.parse(text, name)
