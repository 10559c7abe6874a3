"""Results as dataclasses: files keep their bytes, old ones can be read, and malformed ones are refused in one line."""
import copy
import json
import math
from pathlib import Path

import page_data
import pytest

from ra_plugin.report.markdown import to_markdown
from ra_plugin.results import SCHEMA, Estimate, MalformedResults, Results, from_plain, to_plain
from ra_plugin.studies.boundary.results import BoundaryResults

DOCS = Path(__file__).parents[2] / 'docs'
FILES = [file for file in sorted(DOCS.rglob('*.json')) if f'"{SCHEMA}"' in file.read_text()[:200]]


def is_within(part, whole):
    """Return True if all keys and values of one are in the other."""
    if isinstance(part, dict):
        return all(key in whole and is_within(value, whole[key]) for key, value in part.items())
    return part == whole


@pytest.mark.slow
@pytest.mark.parametrize('file', FILES, ids=lambda file: file.stem)
def test_files_of_early_versions_are_read_and_keep_what_they_say(file):
    results = Results.read(str(file))
    assert is_within(json.loads(file.read_text()), results.to_json())  # keys that came later are added
    assert f'## {next(iter(results.conditions))}' in to_markdown(results)


def test_there_are_files_to_read():
    assert len(FILES) > 60


def test_plain_data_come_back_as_they_were():
    plain = page_data.typed(page_data.results()).to_json()
    assert Results.from_json(plain).to_json() == plain
    assert json.dumps(Results.from_json(json.loads(json.dumps(plain))).to_json()) == json.dumps(plain)


def test_what_is_not_known_is_nan_here_and_null_there():
    found = from_plain(Estimate, {'value': 0.5, 'low': None, 'high': None}, 'x')
    assert math.isnan(found.low) and not found.has_interval and found.side == 'unclear' and found.is_known
    assert to_plain(found) == {'value': 0.5, 'low': None, 'high': None}
    assert to_plain(Estimate(math.inf, 0.1, 1).finite()) == to_plain(Estimate(math.inf, 0.1, 1))


@pytest.mark.parametrize('place, value, words', [
    (('schema',), 'ra_plugin.results/2', "r.json: schema: expected 'ra_plugin.results/1', got 'ra_plugin.results/2'."),
    (('conditions',), [], 'r.json: conditions: expected keys and values, got [].'),
    (('baseline',), 3, 'r.json: baseline: expected text, got 3.'),
    (('seed',), 'a', "r.json: seed: expected a whole number, got 'a'."),
    (('restorers', 'RA', 'used'), 'resnet', "r.json: restorers: RA: used: expected a list, got 'resnet'."),
    (('restorers', 'RA', 'seeds'), True, 'r.json: restorers: RA: seeds: expected a whole number, got True.'),
    (('conditions', 0, 'given', 'clean'), 1, 'r.json: conditions: cifar10 x2: given: clean: expected true or false, '
                                             'got 1.'),
    (('conditions', 0, 'processings', 'RA', 'psnr'), 'high\nor', "r.json: conditions: cifar10 x2: processings: "
     r"RA: psnr: expected a number or null, got 'high\nor'."),
    (('conditions', 0, 'processings', 'RA', 'scores', 'vgg', 'top1', 'low'), [0.1], 'r.json: conditions: cifar10 x2: '
     'processings: RA: scores: vgg: top1: low: expected a number or null, got [0.1].')])
def test_malformed_files_are_refused_in_one_line(place, value, words):
    data = page_data.results()
    node = data
    for key in place[:-1]:
        node = list(node.values())[key] if isinstance(key, int) else node[key]
    node[place[-1]] = value
    with pytest.raises(MalformedResults) as error:
        Results.from_json(data, 'r.json')
    assert str(error.value) == words


@pytest.mark.parametrize('text', ['', '[', '[' * 100000, b'\xff\xfe{\0}\0', '{"schema": "ra_plugin.res'])
def test_a_damaged_file_is_refused_in_one_line(text, tmp_path):
    file = tmp_path / 'results.json'
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(MalformedResults, match='^[^\n]*results.json: expected JSON, got [^\n]*$'):
        Results.read(file)


@pytest.mark.parametrize('value', [math.inf, -math.inf, 10 ** 400])
def test_a_number_that_no_float_holds_is_refused(value):
    with pytest.raises(MalformedResults, match='^x: value: expected a finite number or null, got'):
        from_plain(Estimate, {'value': value, 'low': 0, 'high': 1}, 'x')


@pytest.mark.parametrize('place, words', [
    (('baseline',), "r.json: expected the key 'baseline', got none."),
    (('conditions', 0, 'differences', 'RA', 'scores', 'vgg', 'top1', 'value'),
     "r.json: conditions: cifar10 x2: differences: RA: scores: vgg: top1: expected the key 'value', got none.")])
def test_a_missing_key_is_named(place, words):
    data = page_data.results()
    node = data
    for key in place[:-1]:
        node = list(node.values())[key] if isinstance(key, int) else node[key]
    del node[place[-1]]
    with pytest.raises(MalformedResults) as error:
        Results.from_json(data, 'r.json')
    assert str(error.value) == words


def test_a_file_that_is_no_json_is_named(tmp_path):
    (tmp_path / 'r.json').write_text('{"schema":\n')
    with pytest.raises(MalformedResults, match=r'r\.json: expected JSON, got Expecting value') as error:
        Results.read(tmp_path / 'r.json')
    assert '\n' not in str(error.value)
    with pytest.raises(MalformedResults, match='x: expected keys and values, got None'):
        Results.from_json(None, 'x')


def test_keys_of_other_programs_are_kept_at_the_top():
    data = {**page_data.results(), 'training': {'seed': 3}}
    assert Results.from_json(copy.deepcopy(data)).to_json()['training'] == {'seed': 3}


@pytest.mark.slow
def test_a_boundary_file_is_read():
    plain = json.loads((DOCS / 'results' / 'small' / 'T6_boundary.json').read_text())
    found = from_plain(BoundaryResults, plain, 'boundary.json')
    assert {**to_plain(found), 'seeds': None} == {**plain, 'seeds': None}
