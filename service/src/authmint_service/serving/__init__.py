"""From the settings to processes that listen: one process, or several below a parent that supervises them.

Called by the commands `serve` and `dev`. `authmint_service.app` decides what is served.
"""

from authmint_service.serving.listeners import listen
from authmint_service.serving.server import run_until_stopped, serve_requests
from authmint_service.serving.start import listed_for_commands, serve

__all__ = ["listed_for_commands", "listen", "run_until_stopped", "serve", "serve_requests"]
