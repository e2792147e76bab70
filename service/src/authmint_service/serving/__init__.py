"""From the settings to processes that listen: one process, or several below a parent that supervises them.

Called by the command `serve` alone. `authmint_service.app` decides what is served.
"""

from authmint_service.serving.listeners import listen
from authmint_service.serving.start import serve

__all__ = ["listen", "serve"]
