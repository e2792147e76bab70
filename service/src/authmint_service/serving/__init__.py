"""From the settings to processes that listen: one process, or several below a parent that looks after them.

Called by the command `serve`, and by nobody else. What is answered is the business of `authmint_service.app`.
"""

from authmint_service.serving.listeners import listen
from authmint_service.serving.start import serve

__all__ = ["listen", "serve"]
