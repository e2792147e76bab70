"""A billing API that other services call in their own name."""
