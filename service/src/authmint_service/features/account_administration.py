"""What services that act for an operator do with the sessions of any account."""

from authmint import ResourceServer
from authmint_service.endpoints.admin.sessions import AccountSessionsEndpoints
from authmint_service.features.feature import Feature
from authmint_service.features.sessions import SessionParts


def account_administration(sessions: SessionParts, auth: ResourceServer) -> Feature:
    return Feature(
        name="account_administration",
        routers=(AccountSessionsEndpoints(sessions.sessions, sessions.of_account, auth).routes(),),
    )
