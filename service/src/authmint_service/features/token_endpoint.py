"""The endpoints of OAuth: tokens are issued, revoked and looked at, and the server describes itself."""

from collections.abc import Sequence
from typing import Any

from authmint_service.endpoints.oauth.introspection import IntrospectionEndpoint
from authmint_service.endpoints.oauth.metadata import MetadataEndpoints
from authmint_service.endpoints.oauth.revocation import RevocationEndpoint
from authmint_service.endpoints.oauth.token import TokenEndpoint
from authmint_service.features.clients import Clients
from authmint_service.features.feature import Feature
from authmint_service.features.kernel import Kernel
from authmint_service.features.revocation_list import RevocationListParts
from authmint_service.features.sessions import SessionParts
from authmint_service.grants import GrantParts, GrantRegistry
from authmint_service.signing_keys import KeyRing
from authmint_service.tokens import AccessTokenReader, TokenIssuer


def token_endpoint(
    kernel: Kernel,
    ring: KeyRing,
    clients: Clients,
    sessions: SessionParts,
    revocations: RevocationListParts,
    grants: GrantRegistry,
    parts: GrantParts,
    *,
    others: Sequence[Feature],
) -> Feature:
    """`others`: the features whose metadata this one serves."""
    members: dict[str, Any] = {name: value for feature in others for name, value in feature.metadata.items()}
    lifetime, clock = kernel.settings.access_token_ttl, kernel.clock
    issuer = TokenIssuer(ring, issuer=kernel.issuer, lifetime=lifetime, clock=clock)
    reader = AccessTokenReader(ring, ring.own_keys, issuer=kernel.issuer, clock=clock)
    return Feature(
        name="token_endpoint",
        direct_routers=(
            TokenEndpoint(grants, parts, clients.authentication, sessions.cookies, ring, issuer, kernel.issuer).routes(),
            RevocationEndpoint(
                clients.authentication,
                sessions.cookies,
                sessions.sessions,
                revocations.store,
                reader,
                clock=kernel.database_clock,
            ).routes(),
            IntrospectionEndpoint(
                clients.authentication, sessions.sessions, reader, revocations.publisher, revocations.store
            ).routes(),
            MetadataEndpoints(kernel.issuer, grants.names, ring, members).routes(),
        ),
    )
