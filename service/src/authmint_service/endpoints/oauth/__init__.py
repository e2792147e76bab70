"""The endpoints of OAuth: tokens, their state, keys and metadata."""
