"""Clients that act for themselves."""

from authmint_service.features.feature import Feature
from authmint_service.grants import ClientCredentialsGrant


def services() -> Feature:
    return Feature(name="services", grants=(ClientCredentialsGrant(),))
