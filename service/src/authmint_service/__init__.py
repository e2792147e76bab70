"""The Authmint token service. CONTRIBUTING.md describes its packages and layers."""
