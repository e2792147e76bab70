"""Django OAuth Toolkit in Django REST framework: each token is introspected, and people get a row among Django's users."""

from typing import Any

import django
from django.conf import settings
from given import given, validate

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider", "rest_framework"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of a program that stores nothing",
    USE_TZ=True,
    ALLOWED_HOSTS=["api.example.com"],
    OAUTH2_PROVIDER={
        "RESOURCE_SERVER_INTROSPECTION_URL": f"{given['issuer']}/introspect",
        "RESOURCE_SERVER_INTROSPECTION_CREDENTIALS": (given["client_id"], given["client_secret"]),
        "SCOPES": {"orders:read": "Read orders"},
    },
)
django.setup()

from django.core.management import call_command
from django.test import Client
from django.urls import path
from oauth2_provider.contrib.rest_framework import OAuth2Authentication, TokenHasScope
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.request import Request
from rest_framework.response import Response


@api_view()
@authentication_classes([OAuth2Authentication])
@permission_classes([TokenHasScope])
def orders(request: Request) -> Response:
    return Response(request.user.username if request.user else "a service")


orders.cls.required_scopes = ["orders:read"]
urlpatterns = [path("orders", orders)]
call_command("migrate", verbosity=0)


def verify(token: str) -> Any:
    answer = Client().get("/orders", headers={"Authorization": f"Bearer {token}", "Host": "api.example.com"}, secure=True)
    assert answer.status_code in (200, 401, 403), answer.content
    return answer.json() if answer.status_code == 200 else None


validate(verify, tokens="tokens_for_url", step="validation_by_introspection")
