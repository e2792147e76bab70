"""What services with an `admin:` scope see and change. Never a page: `/admin/v1` takes access tokens and returns JSON."""
