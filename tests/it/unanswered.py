"""A port whose connections are never made: prints it, and drops every SYN until its standard input ends.

The queue of a listener that accepts nobody is filled, after which Linux answers no further one.
"""

import socket
import sys


def main():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    held = []
    for _ in range(4):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
        held.append(client)
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()


main()
