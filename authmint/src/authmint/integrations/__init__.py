"""Integrations with other packages. Each module needs its package, and is imported by the application alone."""
