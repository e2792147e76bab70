"""The composition root: the list of features. What a feature needs of another is an argument, so each dependency shows here."""

import time
from collections.abc import Awaitable, Callable, Sequence

from fastapi import FastAPI

from authmint import ResourceServer
from authmint_service.assembly import assemble
from authmint_service.endpoints.requests import record_verification_event
from authmint_service.features import Feature, Kernel
from authmint_service.features.account import account
from authmint_service.features.account_administration import account_administration
from authmint_service.features.changes import changes
from authmint_service.features.clients import clients
from authmint_service.features.deliveries import deliveries
from authmint_service.features.docs import docs
from authmint_service.features.events import events
from authmint_service.features.health import health
from authmint_service.features.kernel import make_kernel
from authmint_service.features.observability import observability
from authmint_service.features.processes import processes
from authmint_service.features.retention import retention
from authmint_service.features.revocation_list import revocation_list
from authmint_service.features.sessions import sessions
from authmint_service.features.sign_in import sign_in
from authmint_service.features.signing import signing
from authmint_service.features.token_endpoint import token_endpoint
from authmint_service.grants import GrantParts, offered_grants
from authmint_service.logs import configure_logging
from authmint_service.metrics import Metrics
from authmint_service.settings import Settings, load_settings
from authmint_service.signing_keys import KeyRing
from authmint_service.tokens import RevocationListPublisher

MakeFeature = Callable[[Kernel], Feature]


def create_app(
    settings: Settings | None = None,
    *,
    dsn: str | None = None,
    clock: Callable[[], float] = time.time,
    database_time: Callable[[], Awaitable[float]] | None = None,
    metrics: Metrics | None = None,
    more_features: Sequence[MakeFeature] = (),
) -> FastAPI:
    """Return the token service. Raise SettingsError.

    `settings`: from the environment when None; `dsn`: a database that is open already; `clock`: seconds since the epoch;
    `database_time`: instead of the database's own, for tests in which time passes quickly; `metrics`: of an application before
    this one, to count on in; `more_features`: of an application that is built on this one. `app.state` has `metrics`,
    `draining`, `change_feed`, `processes`, `revocation_list`, and `internal`: the application of the internal listener.
    """
    settings = settings or load_settings()
    configure_logging(settings.log_level, settings.log_format)
    kernel = make_kernel(settings, clock, database_time, metrics)
    grants = offered_grants(settings.grants)
    keys = signing(kernel)
    lists = revocation_list(kernel, keys.ring)
    auth = _bearer_check(kernel, keys.ring, lists.publisher)
    recorded = events(kernel)
    registered = clients(kernel, recorded.failures)
    session_parts = sessions(kernel)
    people = sign_in(kernel, recorded.failures)
    features = [
        changes(kernel),
        processes(kernel, keys.ring),
        keys.feature,
        recorded.feature,
        registered.feature,
        session_parts.feature,
        people.feature,
        lists.feature,
        account(people, session_parts, registered, auth),
        account_administration(session_parts, auth),
        docs(kernel),
        *(make(kernel) for make in more_features),
    ]
    # These serve what the others bring.
    features.append(retention(kernel, others=features))
    parts = GrantParts(authenticator=people.authenticator, sessions=session_parts.sessions, changes=kernel.changes)
    features.append(token_endpoint(kernel, keys.ring, registered, session_parts, lists, grants, parts, others=features))
    features.append(deliveries(kernel, others=features))
    features.append(health(kernel, others=features))
    features.append(observability(kernel, others=features))
    app = assemble(kernel, features, grants, dsn=dsn, cookie_origins=registered.cache.cookie_origins)
    app.state.revocation_list = lists.publisher
    return app


def _bearer_check(kernel: Kernel, ring: KeyRing, revocations: RevocationListPublisher) -> ResourceServer:
    """Return the check of access tokens for the service's own routes."""
    return ResourceServer(
        issuer=kernel.issuer,
        audience=kernel.issuer,
        # A service that receives a token must not be able to use it here.
        sole_audience=True,
        key_set=ring.own_keys,
        token_url=f"{kernel.issuer.rstrip('/')}/token",
        revocation_list=revocations,
        clock=kernel.clock,
        observer=record_verification_event,
        scheme_name="Authmint",
    )
