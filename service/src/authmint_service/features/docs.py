"""The documentation page: in development, and where a setting switches it on."""

from authmint_service.endpoints.docs import DocsEndpoints
from authmint_service.features.feature import Feature
from authmint_service.features.kernel import Kernel


def docs(kernel: Kernel) -> Feature:
    settings = kernel.settings
    routers = (DocsEndpoints(kernel.issuer, settings.docs_client_id).routes(),) if settings.serves_docs else ()
    return Feature(name="docs", routers=routers)
