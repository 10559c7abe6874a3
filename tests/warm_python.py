"""Stand in for ``python``: have `warm_start` run a program as this process would, and end as it ends.

What has options of the interpreter, but for one ``-W ACTION``, is run by the interpreter itself. `warm_start` writes
``ADDRESS``, of the process to ask, and ``PYTHON``, the interpreter, above these lines.
"""
import json
import os
import signal
import socket
import sys


def main(*words: str) -> int:
    if not words or words[0].startswith('-') and words[0] not in ('-W', '-c', '-m'):
        os.execv(PYTHON, [PYTHON, *words])  # noqa: F821
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server.connect(ADDRESS)  # noqa: F821
    request = {'words': words, 'cwd': os.getcwd(), 'env': dict(os.environ)}
    socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])
    program = int(server.recv(20))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, frame: os.kill(program, number))
    status = int(server.recv(20))
    if status < 0:
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


sys.exit(main(*sys.argv[1:]))
