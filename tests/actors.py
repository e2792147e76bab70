"""Who makes the changes that tests make without a request."""

from authmint_service.request_source import Actor

OPERATOR = Actor(kind="operator", id="a test")
