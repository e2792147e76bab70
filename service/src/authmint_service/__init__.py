"""The Authmint token service. CONTRIBUTING.md describes its packages and layers."""

from importlib.metadata import version

__version__ = version("authmint-service")
