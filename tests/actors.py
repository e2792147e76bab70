"""Who makes the changes that tests make without a request."""

from authmint_service.request_source import Actor, RequestSource

OPERATOR = Actor(kind="operator", id="a test")
NO_REQUEST = RequestSource(request_id="", ip_address=None, user_agent=None)
