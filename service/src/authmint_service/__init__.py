"""The Authmint token service. Its rooms, from the ground up, stand in CONTRIBUTING.md."""
