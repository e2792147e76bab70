"""Every HTTP request that the service sends. No other package has an HTTP client, and an import contract sees to that.

A URL may come from someone who wants to reach what only this computer can: so the name is resolved once, each address is
judged, and the connection goes to an address that was judged. Only https; the certificate is checked for the name.
Callers: `passwords`. The exporter of traces sends its own requests, to the one collector that the settings name.
"""

from authmint_service.outbound.addresses import is_public
from authmint_service.outbound.client import Outbound, OutboundError, OutboundResponse

__all__ = ["Outbound", "OutboundError", "OutboundResponse", "is_public"]
