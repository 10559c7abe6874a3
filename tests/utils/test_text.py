"""Names from files and data sets are escaped for tables and terminals."""
import re

import pytest

from ra_plugin.utils.text import how_many, markdown_cell, printable


@pytest.mark.parametrize('number, noun, text', [
    (0, 'image', '0 images'), (1, 'image', '1 image'), (2, 'image', '2 images'), (1, 'identity', '1 identity'),
    (3, 'identity', '3 identities'), (1, 'class', '1 class'), (4, 'class', '4 classes'), (9, 'batch', '9 batches')])
def test_one_of_something_is_no_plural(number, noun, text):
    assert how_many(number, noun) == text


@pytest.mark.parametrize('text, cell', [
    ('sem_fpn (used) mIoU', 'sem_fpn (used) mIoU'),
    ('55.7 [55.0, 56.4]', '55.7 [55.0, 56.4]'),
    ('a|b', 'a\\|b'),
    ('two\nlines\r\n', 'two lines'),
    ('<script>alert(1)</script> & co', '&lt;script&gt;alert(1)&lt;/script&gt; &amp; co'),
    ('[here](javascript:x)', '[here\\](javascript:x)'),
    ('![x](http://y)', '![x\\](http://y)'),
    ('_a_ *b* `c` ~~d~~ \\|', '\\_a\\_ \\*b\\* \\`c\\` \\~\\~d\\~\\~ \\\\\\|'),
    ('\x1b[31mred', '\\\\x1b[31mred'),
])
def test_markdown_cell(text, cell):
    assert markdown_cell(text) == cell


def test_a_table_keeps_its_columns_whatever_is_in_it():
    for code in (*range(256), 0x202e, 0x2066, 0x2028):
        cell = markdown_cell(f'a{chr(code)}b')
        assert len(re.findall(r'(?<!\\)\|', cell)) == 0 and len(cell.splitlines()) == 1, code


def test_printable_leaves_text_and_lines_alone():
    assert printable('Blutkörperchen\n\t血液 0.5') == 'Blutkörperchen\n\t血液 0.5'
    assert printable('\x1b]0;title\x07\r\x9b\u202e') == '\\x1b]0;title\\x07\\r\\x9b\\u202e'
