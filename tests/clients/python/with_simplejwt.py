"""Simple JWT in Django REST framework, with a user that is made of the token alone."""

from typing import Any

import django
from django.conf import settings
from given import given, validate

settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of a program that stores nothing",
    SIMPLE_JWT={
        "ALGORITHM": "ES256",
        "JWK_URL": f"{given['issuer']}/.well-known/jwks.json",
        "ISSUER": given["issuer"],
        "AUDIENCE": "orders",
        "USER_ID_CLAIM": "sub",
        "TOKEN_TYPE_CLAIM": None,
    },
)
django.setup()

from django.test import Client
from django.urls import path
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.authentication import JWTStatelessUserAuthentication


@api_view()
@authentication_classes([JWTStatelessUserAuthentication])
@permission_classes([IsAuthenticated])
def orders(request: Request) -> Response:
    return Response(request.user.id)


urlpatterns = [path("orders", orders)]


def verify(token: str) -> Any:
    answer = Client().get("/orders", headers={"Authorization": f"Bearer {token}", "Host": "localhost"})
    assert answer.status_code in (200, 401), answer.content
    return answer.json() if answer.status_code == 200 else None


validate(verify)
