"""What the clients of the kernel tests share; PORT is the governed port."""
import errno, json, os, socket, struct, sys, threading, time

FAR_V4, FAR_V6 = "203.0.113.9", "2001:db8::5"


def say(value):
    print(json.dumps(value), flush=True)


def outcome(call):
    """What a call does: its value, or the name of its error."""
    try:
        return call()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def connected(address, family=socket.AF_INET, prepare=None, protocol=0):
    """Connects, and tells the peer's name and the first bytes from it."""
    client = socket.socket(family, socket.SOCK_STREAM, protocol)
    client.settimeout(5)
    if prepare:
        prepare(client)
    client.connect((address, PORT))
    return {"peer": client.getpeername()[:2], "bytes": client.recv(4).decode(), "pid": os.getpid()}
