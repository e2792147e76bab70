"""What the owner of an account sees and changes. Never a page: `/account/v1` takes access tokens and returns JSON."""
