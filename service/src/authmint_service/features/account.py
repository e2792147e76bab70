"""What people do with their own account: profile, sessions, password."""

from authmint import ResourceServer
from authmint_service.endpoints.account.password import PasswordEndpoint
from authmint_service.endpoints.account.profile import ProfileEndpoint
from authmint_service.endpoints.account.session_proof import SessionProofs
from authmint_service.endpoints.account.sessions import MySessionsEndpoints
from authmint_service.features.clients import Clients
from authmint_service.features.feature import Feature
from authmint_service.features.sessions import SessionParts
from authmint_service.features.sign_in import SignIn


def account(sign_in: SignIn, sessions: SessionParts, clients: Clients, auth: ResourceServer) -> Feature:
    proofs = SessionProofs(sessions.of_account, clients.authentication, sessions.cookies)
    return Feature(
        name="account",
        routers=(
            ProfileEndpoint(sign_in.accounts, auth).routes(),
            MySessionsEndpoints(sessions.sessions, sessions.of_account, proofs, auth).routes(),
            PasswordEndpoint(sessions.sessions, proofs, sign_in.password_change, auth).routes(),
        ),
    )
