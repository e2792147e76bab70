"""The caller's own password. A change revokes every session of the account but the one that proves itself."""

from typing import Annotated, Any

import structlog
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from authmint import Principal, ResourceServer
from authmint.errors import InvalidGrant, InvalidRequest, TemporarilyUnavailable
from authmint_service.endpoints.account.current_session import require_live_session
from authmint_service.endpoints.account.session_proof import (
    PROOF_DESCRIPTION,
    PROOF_PARAMETER,
    SessionProofs,
    invalid_proof_response,
)
from authmint_service.endpoints.field_errors import FieldError, rule_error
from authmint_service.endpoints.oauth.forms import read_form
from authmint_service.endpoints.requests import actor_of, request_source
from authmint_service.endpoints.responses import (
    BEARER_RESPONSES,
    describe_form,
    invalid_fields_response,
    invalid_form_response,
    invalid_value_response,
    problem_response,
    problem_responses,
    unavailable_response,
)
from authmint_service.endpoints.session_schemas import ThisSession
from authmint_service.errors import InvalidValue
from authmint_service.passwords import PasswordChange, SessionChanged, WrongPassword
from authmint_service.sentences import sentence_for
from authmint_service.sessions import Sessions

log = structlog.get_logger(__name__)

_PASSWORD = {"type": "string", "minLength": 1, "format": "password"}

SCHEMAS: dict[str, dict[str, Any]] = {
    "PasswordChange": {
        "type": "object",
        "required": ["current_password", "new_password"],
        "properties": {"current_password": _PASSWORD, "new_password": _PASSWORD, "refresh_token": PROOF_PARAMETER},
    },
}


_WRONG_PASSWORD = FieldError("current_password", "wrong_password", sentence_for("wrong_password", {}))


class PasswordEndpoint:
    """`PUT /account/v1/password`."""

    def __init__(self, sessions: Sessions, proofs: SessionProofs, passwords: PasswordChange, auth: ResourceServer) -> None:
        self._sessions, self._proofs, self._passwords, self._auth = sessions, proofs, passwords, auth

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["account"], responses=BEARER_RESPONSES)
        user = Annotated[Principal, self._auth.user.requires()]

        async def change_my_password(request: Request, principal: user) -> Response:
            return await self._change(request, principal)

        router.add_api_route(
            "/account/v1/password",
            change_my_password,
            methods=["PUT"],
            response_model=ThisSession,
            operation_id="changeMyPassword",
            summary="Change my password, and sign out everywhere else",
            description=PROOF_DESCRIPTION,
            responses=problem_responses(422),
            openapi_extra=describe_form("PasswordChange"),
        )
        return router

    async def _change(self, request: Request, principal: Principal) -> Response:
        session_id = await require_live_session(self._sessions, principal)
        try:
            form = await read_form(request)
            current, new = form.get("current_password", ""), form.get("new_password", "")
            if not current:
                return invalid_fields_response([rule_error("current_password", "missing")])
            presented = await self._proofs.read(request, form, principal, session_id)
            # Made before the change: after it, the refresh token that was presented is worth nothing.
            response = self._proofs.respond(presented)
            await self._passwords.change(
                principal.sub, current=current, new=new, kept=presented.proof,
                actor=actor_of(principal), source=request_source(request),
            )  # fmt: skip
        except InvalidRequest as error:
            return invalid_form_response(error)
        except (InvalidGrant, SessionChanged) as error:
            return invalid_proof_response(error)
        except WrongPassword:
            log.info("password.change_refused", sub=principal.sub, reason="the current password is wrong")
            return problem_response(403, "wrong_password", errors=[_WRONG_PASSWORD])
        except InvalidValue as error:
            return invalid_value_response(error)
        except TemporarilyUnavailable as error:
            return unavailable_response(error)
        log.info("password.changed", sub=principal.sub, sid=session_id)
        return response
