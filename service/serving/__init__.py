"""From the settings to processes that listen: one process, or several below a parent that looks after them.

Called by the command `serve`, and by nobody else. What is answered is the business of `service.app`.
"""

from service.serving.listeners import listen
from service.serving.start import serve

__all__ = ["listen", "serve"]
