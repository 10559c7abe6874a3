"""Programs that start within a tenth of a second: forks of a process that has PyTorch and torchvision.

Their imports, and those of other packages of which this one has a say in nothing, are nearly all of what a start takes.
Each program imports BasicSR and this package itself, and is else as `subprocess` would have it: with a folder, an
environment, a search path and a standard output of its own. It ends as a child of multiprocessing does, after what is
registered for the end, and OMP_NUM_THREADS is 1.
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
from collections.abc import Sequence
from pathlib import Path

IMPORTED = ('cv2', 'numpy', 'scipy.stats', 'torch', 'torchvision')
NEVER = {'basicsr', 'mmcv', 'ra_plugin', 'timm'}  # what a program imports itself


class Program:
    """A program that runs; as `subprocess.Popen` with ``text=True``, and standard output and errors captured.

    Args:
        words: What follows ``python``: ``-c CODE``, ``-m MODULE`` or a file, and its arguments.
        cwd: Its folder. Default: this process's.
        env: Its environment. Default: this process's.
    """

    def __init__(self, words: Sequence, cwd: Path | None = None, env: dict[str, str] | None = None):
        self.words = [str(word) for word in words]
        self._files = [tempfile.TemporaryFile('w+', encoding='utf-8') for _ in range(2)]
        self._status, status = os.pipe()
        request = {'words': self.words, 'cwd': str(cwd or Path.cwd()), 'env': dict(os.environ if env is None else env)}
        socket.send_fds(_server(), [json.dumps(request).encode()], [file.fileno() for file in self._files] + [status])
        os.close(status)
        self.pid = self._told(60)
        self._runs = True

    def result(self, seconds: float = 300) -> subprocess.CompletedProcess:
        """Wait for its end, and return its exit status and what it wrote; TimeoutExpired if it takes longer."""
        status = self._told(seconds)
        self._runs = False
        for file in self._files:
            file.seek(0)
        return subprocess.CompletedProcess(self.words, status, *(file.read() for file in self._files))

    def close(self) -> None:
        """Kill it if it still runs."""
        if self._runs:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        os.close(self._status)
        for file in self._files:
            file.close()

    def _told(self, seconds: float) -> int:
        if not select.select([self._status], [], [], seconds)[0]:
            raise subprocess.TimeoutExpired(self.words, seconds)
        return int(os.read(self._status, 20))


def run(words: Sequence, cwd: Path | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    """Run a program to its end, see `Program`."""
    return finish(Program(words, cwd, env))[0]


def finish(*programs: Program) -> list[subprocess.CompletedProcess]:
    """Wait for the end of programs, of which none is left."""
    try:
        return [program.result() for program in programs]
    finally:
        for program in programs:
            program.close()


@functools.cache
def _server() -> socket.socket:
    """Start the process that is forked; it ends when this one has ended."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    env = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    process = subprocess.Popen([sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()],
                               stdin=subprocess.DEVNULL, env={**env, 'OMP_NUM_THREADS': '1'})
    theirs.close()
    atexit.register(lambda: (ours.close(), process.wait()))
    return ours


def _request(connection: socket.socket) -> dict | None:
    """Return a request in the process that is to become the program; None in that which serves, at its end."""
    while True:
        message, files, *_ = socket.recv_fds(connection, 2 ** 20, 3)
        if not message:
            return None
        if not os.fork():  # this one waits for the program
            program = os.fork()
            if not program:
                os.dup2(files[0], 1)
                os.dup2(files[1], 2)
                os.closerange(3, max(*files, connection.fileno()) + 1)
                return json.loads(message)
            os.write(files[2], f'{program}'.ljust(20).encode())
            status = os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])
            with contextlib.suppress(BrokenPipeError):  # nobody waits any more
                os.write(files[2], f'{status}'.encode())
            os._exit(0)
        for file in files:
            os.close(file)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # those that have nothing left to wait for
                pass


def _become(words: list[str], cwd: str, env: dict[str, str], search_path: list[str]) -> None:
    """Do as ``python`` does with these words."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for package in ('random', 'numpy.random', 'torch'):  # as drawn from the system at a start
        sys.modules[package].seed()
    first = {'-c': '', '-m': cwd}.get(words[0], str(Path(words[0]).absolute().parent))
    sys.path[:] = [first, *filter(None, env.get('PYTHONPATH', '').split(os.pathsep)), *search_path]
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
    status = 0
    try:
        _become(**program)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


if __name__ == '__main__':
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests and for what they run
    search_path = sys.path[1:]
    sys.path[:] = search_path
    for name in IMPORTED:
        importlib.import_module(name)
    assert not NEVER & sys.modules.keys()
    gc.freeze()  # a fork that collected it would copy all that is here
    found = _request(socket.socket(fileno=int(sys.argv[1])))
    os._exit(_status(**found, search_path=search_path) if found else 0)
