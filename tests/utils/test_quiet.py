"""Output of Python, of the file descriptor and of C is discarded within, and kept before and after."""
import ctypes
import os

import pytest

from ra_plugin.utils.quiet import quiet_output


def say(text):
    print(text)
    os.write(1, f'{text} of a descriptor\n'.encode())
    ctypes.CDLL(None).puts(f'{text} of C'.encode())


def test_output_is_discarded_within(capfd):
    say('before')
    with quiet_output():
        say('within')
    say('after')
    ctypes.CDLL(None).fflush(None)
    said = capfd.readouterr().out
    assert 'within' not in said and said.count('before') == said.count('after') == 3


def test_an_error_ends_it(capfd):
    with pytest.raises(KeyError), quiet_output():
        raise KeyError
    say('after')
    ctypes.CDLL(None).fflush(None)
    assert capfd.readouterr().out.count('after') == 3
