"""What the service can do, in features. A feature is one file here, of at most 80 lines, which assembles parts of lower layers.

What it assembles lies in the layer that it belongs to. What one feature gives another is a parameter, so that `app.py`, the
list of all features, shows every dependency.
"""

from authmint_service.features.feature import Feature
from authmint_service.features.kernel import Kernel

__all__ = ["Feature", "Kernel"]
