"""`authmint-service dev`: the whole first run in one process.

It starts PostgreSQL and the token service, adds one account and three clients, serves the example page, and prints how to use
them. Its secrets are in its data folder. It is no deployment: that is `serve`.
"""

from authmint_service.development.start import Options, run

__all__ = ["Options", "run"]
