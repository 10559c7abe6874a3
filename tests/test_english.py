"""Plain English in docstrings, messages, pages and docs: no refused first word, none of the project's old habits."""
import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
UNFINISHED = ()
OPENERS = set('Are As By Do Does Each Every How Is Its Likewise Of That Their Those What Whatever When Where Whether '
              'Which While Who Whose Why With Within'.split())
HABITS = re.compile(
    r'\b(can(not)? be meant|cannot be had|takes? part|(is|are) told|what is judged|as it is by then|anew'
    r'|mend(s|ed|ing)?|(class|key|name|path) a line|images an? (second|step|epoch)|bits a (channel|value)'
    r'|no [a-z]+ of its own|as if nothing had|stumbles? over|whose it is)\b', re.IGNORECASE)
PAGES = [*ROOT.glob('ra_plugin/report/pages/*'), ROOT / 'README.md', *ROOT.glob('docs/*.md')]


def bad_docstrings(source):
    """Yield the line and the first word of docstrings that begin with a refused word."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            words = (ast.get_docstring(node) or '').split()
            if words and words[0].strip('.,:;') in OPENERS:
                yield node.body[0].lineno, words[0]


def bad_strings(source):
    """Yield the line and the habit in string constants: docstrings and messages."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from ((node.lineno, found[0]) for found in HABITS.finditer(' '.join(node.value.split())))


def bad_lines(text):
    """Yield the line and the habit in a page."""
    for number, line in enumerate(text.splitlines(), 1):
        yield from ((number, found[0]) for found in HABITS.finditer(line))


def findings(files, check):
    """Return ``file:line: words`` for all findings in finished files."""
    names = {path.relative_to(ROOT).as_posix(): path for path in files}
    return [f'{name}:{line}: {words}' for name, path in sorted(names.items())
            if not any(name == room or name.startswith(f'{room}/') for room in UNFINISHED)
            for line, words in check(path.read_text(encoding='utf-8'))]


def programs():
    return [path for room in ('ra_plugin', 'tools', 'dev') for path in ROOT.glob(f'{room}/**/*.py')]


def test_docstrings_begin_with_a_verb_or_the_noun_returned():
    found = findings(programs(), bad_docstrings)
    assert not found, '\n'.join(found)


def test_strings_have_none_of_the_old_habits():
    found = findings(programs(), bad_strings)
    assert not found, '\n'.join(found)


def test_pages_and_docs_have_none_of_the_old_habits():
    found = findings(PAGES, bad_lines)
    assert not found, '\n'.join(found)


def test_the_checks_find_bad_english():
    source = ('"""What it is."""\n\ndef f(x):\n    """Whether x holds."""\n    raise KeyError(f"{x} cannot be meant")\n'
              '\nclass C:\n    """A class: mend it."""\n')
    assert list(bad_docstrings(source)) == [(1, 'What'), (4, 'Whether')]
    assert sorted(bad_strings(source)) == [(5, 'cannot be meant'), (8, 'mend')]
    assert list(bad_lines('Good.\nLPIPS cannot be had here.\n')) == [(2, 'cannot be had')]
    assert not [*bad_docstrings('"""Return x."""'), *bad_strings('"""Return x."""'), *bad_lines('Good.')]
    assert len(programs()) > 100 and len(PAGES) > 5 and all(path.exists() for path in PAGES)
