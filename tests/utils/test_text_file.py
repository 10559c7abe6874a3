"""Text files: UTF-8 with or without a byte order mark; errors name other encodings; XML in its declared encoding."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ra_plugin.data.annotations import read_classes, read_labels
from ra_plugin.data.xml_file import read_xml
from ra_plugin.evaluation.options import read_options
from ra_plugin.options import OptionError
from ra_plugin.recognizers import class_names
from ra_plugin.studies.survey.scores import read_key
from ra_plugin.utils.text_file import read_text

TEXT = 'path,label\n0.png,caf\u00e9\n'
OTHERS = {'latin-1': 'a byte that is not UTF-8 at position 20', 'utf-16': 'UTF-16', 'utf-16-le': 'a zero byte at',
          'utf-32': 'UTF-32'}


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig'])
def test_utf8_is_read_with_and_without_a_mark_in_any_locale(tmp_path, encoding):
    file = tmp_path / 'a.csv'
    file.write_bytes(TEXT.encode(encoding))
    assert read_text(file, 'x') == TEXT
    assert read_labels(str(file), 'x') == [('0.png', 'caf\u00e9')]
    (tmp_path / 'a.json').write_bytes('{"0.png": "caf\u00e9"}'.encode(encoding))
    assert read_labels(str(tmp_path / 'a.json'), 'x') == [('0.png', 'caf\u00e9')]


@pytest.mark.parametrize('encoding', OTHERS)
@pytest.mark.parametrize('reader', [
    lambda file: read_labels(file, 'x'), lambda file: read_classes(file, 'x'), class_names.read_classes,
    lambda file: read_options(Path(file)), lambda file: read_key(Path(file))], ids=[
        'csv', 'classes', 'classes of a training', 'option file', 'survey'])
def test_other_encodings_are_one_line_with_the_file(tmp_path, reader, encoding):
    file = tmp_path / 'a.csv'
    file.write_bytes(TEXT.encode(encoding))
    with pytest.raises(OptionError) as error:
        reader(str(file))
    assert f"expected UTF-8 text in '{file}', got {OTHERS[encoding]}" in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.slow
def test_training_reads_option_files_as_utf8_whatever_the_locale(tmp_path):
    code = ('import sys, ra_plugin.basicsr, yaml\n'
            'from basicsr.utils.options import ordered_yaml\n'
            'for file in sys.argv[1:]:\n'
            '    try:\n'
            '        print(yaml.load(open(file), Loader=ordered_yaml()[0])["name"] == "caf\\u00e9")\n'
            '    except ValueError as error:\n'
            '        print(ascii(str(error)))\n')
    for encoding in ('utf-8', 'utf-8-sig', 'gbk'):
        (tmp_path / f'{encoding}.yml').write_bytes('name: caf\u00e9\n'.encode(encoding))
    done = subprocess.run([sys.executable, '-X', 'utf8=0', '-c', code, *map(str, sorted(tmp_path.iterdir()))],
                          capture_output=True, text=True, timeout=300, env={**os.environ, 'LC_ALL': 'C',
                                                                            'PYTHONCOERCECLOCALE': '0'})
    gbk, utf8, marked = done.stdout.splitlines()[-3:]
    assert utf8 == marked == 'True', done.stderr
    assert gbk.startswith('"option file: expected UTF-8 text in') and 'gbk.yml' in gbk


GBK = '<a>\u732b\u72d7</a>'.encode('gbk')
XML = '<annotation><name>\u732b</name></annotation>'


@pytest.mark.parametrize('declared, encoding', [
    ('gbk', 'gbk'), ('GB2312', 'gb2312'), ('shift_jis', 'shift_jis'), ('UTF-16', 'utf-16'), ('utf-8', 'utf-8-sig'),
    ('utf-8', 'utf-8'), (None, 'utf-8'), (None, 'utf-16')])
def test_xml_is_read_in_the_encoding_it_declares(tmp_path, declared, encoding):
    head = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ''
    (tmp_path / 'a.xml').write_bytes((head + XML).encode(encoding))
    assert read_xml(str(tmp_path / 'a.xml'), 'x').findtext('name') == '\u732b'


@pytest.mark.parametrize('data, message', [
    (GBK, r"x: expected XML in '.*a\.xml' in UTF-8, as it declares no encoding, got other bytes"),
    (b'<?xml version="1.0" encoding="utf-8"?>' + GBK, 'as it declares utf-8, got other bytes'),
    (b'<?xml version="1.0" encoding="klingon"?><a/>', r'unknown encoding: klingon'),
    (b'<?xml version="1.0" encoding="rot13"?><a/>', r'as it declares rot13'),
    (b'<!DOCTYPE a [<!ENTITY b "bbbb">]><a>&b;</a>', r"XML without entity declarations, got some in '.*a\.xml'"),
    (b'<a>', r"expected XML, got '.*a\.xml' with an error"),
])
def test_xml_that_cannot_be_read_is_named(tmp_path, data, message):
    (tmp_path / 'a.xml').write_bytes(data)
    with pytest.raises(OptionError, match=message):
        read_xml(str(tmp_path / 'a.xml'), 'x')
