"""The two kinds of black boxes: a program on this machine, and an address on the network."""
import email.utils
import http.client
import json
import os
import string
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ra_plugin.recognizers.blackbox.answer_format import shown

MOST_BYTES = 2 ** 20  # of an answer


class Unavailable(Exception):
    """Raised for a request without an answer that may be answered later.

    Args:
        message: Why.
        wait: Seconds after which to come again, where the black box says so.
    """

    def __init__(self, message: str, wait: float = 0.0):
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True)
class Command:
    """A program that is given the name of a PNG file and writes its answer to standard output.

    Args:
        command: Program and arguments, as they are: no shell reads them. ``{image}`` becomes the name of the file.
        timeout: Seconds that it may take.

    Raises:
        ValueError: No argument has ``{image}``.
    """

    command: Sequence[str]
    timeout: float

    def __post_init__(self):
        if not any('{image}' in argument for argument in self.command[1:]):
            raise ValueError(f"command: expected a list with a program and '{{image}}', got {list(self.command)}.")

    @property
    def name(self) -> str:
        return Path(self.command[0]).name

    @property
    def source(self) -> str:
        return ' '.join(self.command)

    @property
    def identity(self) -> str:
        return json.dumps({'command': list(self.command)})

    def ask(self, png: bytes) -> bytes:
        """Return the program's standard output.

        Raises:
            ValueError: It cannot be run, fails, takes too long or says too much.
        """
        with tempfile.TemporaryDirectory() as folder:
            image, output, errors = (Path(folder) / name for name in ('image.png', 'stdout', 'stderr'))
            image.write_bytes(png)
            arguments = [argument.replace('{image}', str(image)) for argument in self.command]
            try:  # files, not pipes: what the program starts and leaves behind cannot keep us waiting
                with output.open('wb') as stdout, errors.open('wb') as stderr:
                    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                                          timeout=self.timeout)
            except subprocess.TimeoutExpired:
                raise ValueError(f'no answer within {self.timeout:g} s. Set timeout') from None
            except OSError as error:
                raise ValueError(f'cannot be run ({error})') from None
            if done.returncode:
                with errors.open('rb') as file:
                    raise ValueError(f'exit status {done.returncode}: {shown(file.read(MOST_BYTES).strip()[-100:])}')
            with output.open('rb') as file:
                return _limited(file.read(MOST_BYTES + 1))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A handler that follows no redirection: image and keys go only to the address in the options."""

    def redirect_request(self, *args):
        return None


@dataclass(frozen=True)
class Endpoint:
    """An address that a PNG is posted to, and that answers in JSON.

    Args:
        url: ``https://...`` or ``http://...``.
        headers: Further headers; ``$NAME`` in a value is the environment variable NAME, ``$$`` a dollar sign.
        timeout: Seconds that it may take.

    Raises:
        ValueError: No such address, an environment variable that is not set, a value that is no header.
    """

    url: str
    headers: Mapping[str, str]
    timeout: float

    def __post_init__(self):
        parts = urllib.parse.urlsplit(self.url)
        if (parts.scheme not in ('http', 'https') or not parts.hostname or '@' in parts.netloc
                or not self.url.isascii() or any(c.isspace() for c in self.url)):
            raise ValueError('url: expected http(s)://HOST/... without user and password, which belong in headers, '
                             f'got {self.source}.')
        for name, value in self.headers.items():
            if not isinstance(value, str):
                raise ValueError(f'headers.{name}: expected text, got {type(value).__name__}.')
        self._filled_headers()

    @property
    def name(self) -> str:
        return urllib.parse.urlsplit(self.url).netloc

    @property
    def source(self) -> str:
        """The address without parts that may be secret."""
        parts = urllib.parse.urlsplit(self.url)
        return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition('@')[2], parts.path, '', ''))

    @property
    def identity(self) -> str:
        return json.dumps({'url': self.url, 'headers': dict(self.headers)}, sort_keys=True)

    def _filled_headers(self) -> dict[str, str]:
        filled = {'Content-Type': 'image/png', 'Accept': 'application/json'}
        for name, value in self.headers.items():
            try:
                filled[name] = string.Template(value).substitute(os.environ)
            except KeyError as error:
                raise ValueError(f'headers.{name}: the environment variable {error.args[0]} is not set.') from None
            except ValueError:
                raise ValueError(f"headers.{name}: a '$' that names no environment variable. Write '$$' for "
                                 'the sign.') from None
            if not (filled[name].isascii() and filled[name].isprintable()):  # the value may be a secret: not shown
                raise ValueError(f'headers.{name}: expected printable ASCII in the value, without line breaks.')
        return filled

    def ask(self, png: bytes) -> bytes:
        """Return the body of the response.

        Raises:
            Unavailable: No connection, no whole answer in time, too many requests (429), an error of the server (5xx).
            ValueError: Another status, or a body that is too large.
        """
        request = urllib.request.Request(self.url, png, self._filled_headers(), method='POST')
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=self.timeout) as response:
                return self._body(response)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error) from None
        except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
            raise Unavailable(f'no answer ({shown(str(error) or type(error).__name__)})') from None

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        """Read the whole body within the time limit, however small the pieces it comes in."""
        deadline, body = time.monotonic() + self.timeout, b''
        while piece := response.read1(2 ** 16):
            body = _limited(body + piece)
            if time.monotonic() > deadline:
                raise TimeoutError(f'not all of it within {self.timeout:g} s')
        if response.length:
            raise ConnectionError('it was cut off')
        return body

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        if error.code == 429 or error.code >= 500:
            return Unavailable(f'status {error.code}', _seconds(error.headers.get('Retry-After')))
        if 300 <= error.code < 400:
            return ValueError(f'status {error.code}: it points to {shown(error.headers.get("Location"))}, which is not '
                              'followed. Set url to the address that answers')
        return ValueError(f'status {error.code}: {shown(self._without_secrets(error))}')

    def _without_secrets(self, error: urllib.error.HTTPError) -> bytes:
        """Return the beginning of an error response, which may repeat what was sent, without the secrets in it."""
        try:
            text = error.read(1000)
        except (OSError, http.client.HTTPException):
            return b''
        for name, value in self._filled_headers().items():
            for secret in value.split() if name in self.headers else ():
                text = text.replace(secret.encode(), b'***')
        return text


def _limited(body: bytes) -> bytes:
    if len(body) > MOST_BYTES:
        raise ValueError(f'an answer of more than {MOST_BYTES} bytes')
    return body


def _seconds(retry_after: str | None) -> float:
    """Return the seconds in a Retry-After header, which has a number or a date; 0 where it cannot be parsed."""
    try:
        return max(0.0, float(retry_after or 0))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after or '').timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
