"""Programs that start within a tenth of a second: forks of a process that has PyTorch and torchvision.

Their imports, and those of other packages of which this one has a say in nothing, are nearly all of what a start takes.
Each program imports BasicSR and this package itself, and is else as `subprocess` would have it, with a folder, an
environment, a search path, files and signals of its own; the programs that it starts are warm, too. It ends as a child
of multiprocessing does, after what is registered for the end, and OMP_NUM_THREADS is 1.
"""
import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import types
import warnings
from collections.abc import Sequence
from pathlib import Path

IMPORTED = ('cv2', 'numpy', 'scipy.stats', 'torch', 'torchvision')
NEVER = {'basicsr', 'mmcv', 'ra_plugin', 'timm'}  # what a program imports itself


def run(words: Sequence, cwd: Path | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    """Run a program to its end, and return its exit status and what it wrote, as text.

    Args:
        words: What follows ``python``: ``-c CODE``, ``-m MODULE`` or a file, and its arguments.
        cwd: Its folder. Default: this process's.
        env: Its environment. Default: this process's.
    """
    return subprocess.run([python(), *map(str, words)], cwd=cwd, env=env, stdin=subprocess.DEVNULL, timeout=300,
                          capture_output=True, text=True)


@functools.cache
def python() -> str:
    """Return the path of what stands in for `sys.executable`; the process that it asks ends with this one."""
    folder = tempfile.TemporaryDirectory()
    program, address = Path(folder.name, 'python'), Path(folder.name, 'server')
    given = f'ADDRESS, PYTHON = {str(address)!r}, {sys.executable!r}'
    program.write_text(f'#!{sys.executable} -IS\n{given}\n{Path(__file__).with_name("warm_python.py").read_text()}')
    program.chmod(0o700)
    env = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(address))
        listener.listen()
        server = subprocess.Popen([sys.executable, __file__, str(listener.fileno()), str(program)],
                                  pass_fds=[listener.fileno()], stdin=subprocess.PIPE,
                                  env={**env, 'OMP_NUM_THREADS': '1'})
    atexit.register(lambda: (server.communicate(), folder.cleanup()))
    return str(program)


def _serve(listener: socket.socket) -> dict | None:
    """Return a request in the process that is to become the program; None in that which serves, at its end."""
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if not os.fork():
            listener.close()
            return _accompany(connection)
        connection.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # those that have nothing left to wait for
                pass
    return None


def _accompany(connection: socket.socket) -> dict:
    """Return the request in the program; wait for that, and end it if who has asked for it is killed."""
    message, files, *_ = socket.recv_fds(connection, 2 ** 20, 3)
    program = os.fork()
    if not program:
        for number, file in enumerate(files):
            os.dup2(file, number)
        os.closerange(3, max(*files, connection.fileno()) + 1)
        return json.loads(message)
    for file in files:
        os.close(file)
    connection.send(str(program).encode())
    ended = os.pidfd_open(program)
    if ended not in select.select([ended, connection], [], [])[0]:
        os.kill(program, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        connection.send(str(status).encode())
    os._exit(0)


def _become(words: list[str], cwd: str, env: dict[str, str], search_path: list[str], executable: str) -> None:
    """Do as ``python`` does with these words."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for package in ('random', 'numpy.random', 'torch'):  # as drawn from the system at a start
        sys.modules[package].seed()
    if words[0] == '-W':
        warnings.simplefilter(words[1])
        words = words[2:]
    first = {'-c': '', '-m': cwd}.get(words[0], str(Path(words[0]).absolute().parent))
    sys.path[:] = [first, *filter(None, env.get('PYTHONPATH', '').split(os.pathsep)), *search_path]
    sys.executable = executable
    importlib.invalidate_caches()
    if words[0] == '-c':
        sys.argv[:] = ['-c', *words[2:]]
        sys.modules['__main__'] = main = types.ModuleType('__main__')
        exec(words[1], main.__dict__)
    elif words[0] == '-m':
        sys.argv[:] = words[1:]
        runpy.run_module(words[1], run_name='__main__', alter_sys=True)
    else:
        sys.argv[:] = words
        runpy.run_path(words[0], run_name='__main__')


def _status(**program) -> int:
    """Run a program, and what it registered for its end, and return its exit status."""
    status, is_interrupted = 0, False
    try:
        _become(**program)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException as error:
        traceback.print_exc()
        status, is_interrupted = 1, isinstance(error, KeyboardInterrupt)
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if is_interrupted:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return status


if __name__ == '__main__':
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests and for what they run
    search_path = sys.path[1:]
    sys.path[:] = search_path
    for name in IMPORTED:
        importlib.import_module(name)
    assert not NEVER & sys.modules.keys()
    gc.freeze()  # a fork that collected it would copy all that is here
    found = _serve(socket.socket(fileno=int(sys.argv[1])))
    os._exit(_status(**found, search_path=search_path, executable=sys.argv[2]) if found else 0)
