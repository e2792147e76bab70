"""Signs people in. Whatever is wrong, the answer and the time that it takes are the same."""

from authmint_service.authentication.password import PasswordAuthenticator

__all__ = ["PasswordAuthenticator"]
