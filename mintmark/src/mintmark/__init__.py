"""Mintmark: tell, without a call to anyone, that an access token was struck by your token service."""
