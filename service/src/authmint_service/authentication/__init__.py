"""Authentication of people: the only package that uses accounts and passwords together.

Whatever is wrong with a sign-in, the response and the time until it are the same.
"""

from authmint_service.authentication.password import PasswordAuthenticator

__all__ = ["PasswordAuthenticator"]
