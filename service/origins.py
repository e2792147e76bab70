"""Where a page comes from, as a browser says it in the header Origin (RFC 6454)."""

from urllib.parse import urlsplit


def is_origin(text: str) -> bool:
    """Whether it is `scheme://host[:port]` to the character, of http or https, and no pattern."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and f"{parts.scheme}://{parts.netloc}" == text
        and "*" not in text
    )
