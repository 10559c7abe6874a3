"""The report: its numbers are those of the data, its names harmless, its missing parts left out; and in a browser."""
import base64
import copy
import io
import math
import re
from html.parser import HTMLParser

import numpy as np
import page_data
import pytest
from browser import chromium, console, requested, resize
from page_data import (
    CLASSIFIERS,
    CONDITIONS,
    DETECTOR,
    GAINS,
    HOSTILE,
    HOSTILE_ATTRIBUTE,
    RECOGNIZERS,
    VIEWS,
    estimate,
    typed,
)
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from ra_plugin.report import charts, formats, images, tables
from ra_plugin.report.page import write_page
from ra_plugin.report.verdict import AUDIT_TONES, verdicts
from ra_plugin.results import Estimate, Spectrum

SECTIONS = ['summary', 'transfer', 'trade-off', 'images', 'harm', 'clean-input', 'audit', 'certainty', 'reproduce']


class Page(HTMLParser):
    """Tables as (caption, heads, rows of (name, cells)), each with its text; what tags and ids there are."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.tags, self.ids, self.attributes, self.text = [], [], [], [], ''
        self._cell = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.attributes += attrs.items()
        self.ids += [attrs['id']] if 'id' in attrs else []
        if tag == 'table':
            self.tables.append({'caption': '', 'rows': []})
        elif tag == 'tr':
            self.tables[-1]['rows'].append([])
        elif tag in ('th', 'td', 'caption'):
            self._cell = {'text': '', 'class': attrs.get('class', ''), 'scope': attrs.get('scope')}

    def handle_data(self, data):
        self.text += data
        if self._cell is not None:
            self._cell['text'] += data

    def handle_endtag(self, tag):
        if tag in ('th', 'td', 'caption') and self._cell is not None:
            self._cell['text'] = ' '.join(self._cell['text'].split())
            if tag == 'caption':
                self.tables[-1]['caption'] = self._cell['text']
            else:
                self.tables[-1]['rows'][-1].append(self._cell)
            self._cell = None

    def found(self, caption):
        return [table['rows'] for table in self.tables if caption in table['caption']]


def write(tmp_path, results=None, examples=()):
    path = tmp_path / 'page.html'
    write_page(typed(results or page_data.results()), examples, path)
    return path.read_text(encoding='utf-8')


def by_hand(estimate, sign='+'):
    """As the page should have it, a minus sign for a hyphen."""
    value, low, high = (f'{100 * estimate[key]:{sign}.1f}' for key in ('value', 'low', 'high'))
    return re.sub('[+-]0[.]0', '0.0', f'{value} [{low}, {high}]').replace('-', '\u2212')


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    return Page(write(tmp_path_factory.mktemp('page'), examples=page_data.examples(2)))


def test_each_gain_is_in_its_cell_with_interval_and_color(page):
    found = page.found('Gain over the baseline')
    assert len(found) == len(CONDITIONS)
    for rows, condition in zip(found, page_data.results()['conditions'].values(), strict=True):
        heads = [cell['text'] for cell in rows[0]]
        assert heads == ['minus plain', *(f'{name} {"voc12 mAP" if name == "fcos" else "top-1"}'
                                          for name in RECOGNIZERS), 'PSNR dB', 'SSIM']
        for (name, *cells), (restorer, entry) in zip(rows[1:], condition['differences'].items(), strict=True):
            assert (name['text'], name['scope']) == (restorer, 'row')
            for cell, recognizer in zip(cells[:len(RECOGNIZERS)], RECOGNIZERS, strict=True):
                gain = next(iter(entry['scores'][recognizer].values()))
                assert cell['text'].endswith(by_hand(gain))
                assert ('used' in cell['text']) == (recognizer == 'resnet' and 'RA' in restorer)
                assert ('\u2248 0' in cell['text']) == (gain['low'] <= 0 <= gain['high'])
                sign = '' if abs(gain['value']) < 0.25 / 12 else 'p' if gain['value'] > 0 else 'n'
                assert re.fullmatch(f'heat {sign}[1-6]' if sign else 'heat ?', cell['class'])
            assert cells[-2]['text'].startswith(f'{GAINS[restorer][2]:+.2f} ['.replace('-', '\u2212'))


def test_each_score_is_in_its_cell(page):
    for rows, condition in zip(page.found('Scores of each processing'), page_data.results()['conditions'].values(),
                               strict=True):
        for (name, *cells), (processing, entry) in zip(rows[1:], condition['processings'].items(), strict=True):
            assert name['text'] == processing + ' baseline' * (processing == 'plain')
            for cell, recognizer in zip(cells[:len(RECOGNIZERS)], RECOGNIZERS, strict=True):
                assert cell['text'].endswith(by_hand(next(iter(entry['scores'][recognizer].values())), ''))
            assert cells[-2]['text'] == ('\u2013' if entry['psnr'] is None else f'{entry["psnr"]:.2f}')
    assert page.found('by the other metrics')[0][1][1]['text'] == by_hand(estimate(0.958), '')


@pytest.mark.slow
def test_a_recognizer_that_does_not_judge_a_condition_has_no_place_there(tmp_path):
    data, shown = page_data.results(), page_data.examples(1)
    second = data['conditions'][CONDITIONS[1]]
    audited = second['audit']['restorers'].values()
    for entry in (*second['processings'].values(), *second['differences'].values(),
                  *second['clean_input']['restorers'].values()):
        entry['scores'].pop('resnet')
    for judged in (*second['harm'].values(), *(entry['gains'] for entry in audited),
                   *(judged for example in shown if example.condition == CONDITIONS[1]
                     for judged in example.answers.values())):
        judged.pop('resnet')
    found = Page(write(tmp_path, data, shown))
    for caption in ('Gain over the baseline', 'Scores of each processing', 'by the other metrics',
                    'answer changed against no processing', 'Clean images given', 'How sure'):
        tables = found.found(caption)
        assert ['resnet' in str(rows) for rows in tables] == [True, False], caption
        assert all(len(row) == len(rows[0]) for rows in tables for row in rows)
    assert 'resnet' in found.text and len(found.found('when both images are changed')) == 2 * len(GAINS)
    told = {verdict.restorer: dict(verdict.sentences) for verdict in verdicts(typed(data), CONDITIONS[1])}
    assert told['RA']['Held out'].startswith('4 of 4 never seen in training gain')  # it used resnet, which is elsewhere


def test_harm_clean_input_and_audit_are_those_of_the_data(page):
    data = page_data.results()['conditions'][CONDITIONS[0]]
    rows = page.found('answer changed against no processing')[0][1:]
    for i, (restorer, entry) in enumerate(data['harm'].items()):
        for row, kind in zip(rows[2 * i:2 * i + 2], ('hurt', 'helped'), strict=True):
            assert row[0]['text'].startswith(f'{restorer} {kind}')
            assert all(cell['text'].endswith(by_hand(entry[name][kind], ''))
                       for cell, name in zip(row[1:], CLASSIFIERS, strict=False))
    by_class = page.found('plain: hurt / helped')[0]
    assert [row[1]['text'] for row in by_class[1:]] == ['5.3 / 12.3', '5.1 / 12.3']  # hurt most first
    assert page.found('Clean images given')[0][1][1]['text'] == by_hand(estimate(-0.013))
    for rows, (restorer, entry) in zip(page.found('when both images are changed')[:len(GAINS)],
                                       data['audit']['restorers'].items(), strict=True):
        assert [cell['text'] for cell in rows[0][1:]] == VIEWS
        for (name, *cells), recognizer in zip(rows[1:], RECOGNIZERS, strict=True):
            assert name['text'] == recognizer + ' used' * (recognizer == 'resnet' and 'RA' in restorer)
            assert all(cell['text'].endswith(by_hand(entry['gains'][recognizer][view]))
                       for cell, view in zip(cells, VIEWS, strict=True))


def test_certainty_says_what_is_known(page):
    rows = page.found('How sure')[0][1:]
    resnet, vgg, detector = ([cell['text'] for cell in rows[i]] for i in (0, 1, 4))
    assert resnet == ['RA used resnet, top-1', by_hand(estimate(0.223)), '< 0.001; 0.040; 0.310', '+36.0',
                      '62 [61, 63]', '4 100', '61.8 \u00b1 1.0 60.8, 61.8, 62.8']
    assert (vgg[3], vgg[4]) == ('+4.0', '\u2013 gap too small')
    assert detector[2] == '\u2013'


@pytest.mark.slow
def test_names_are_text_and_nothing_else(tmp_path):
    text = write(tmp_path, examples=page_data.examples(1))
    page = Page(text)
    assert page.tags.count('script') == 1 and 'x' not in [v for k, v in page.attributes if k == 'src']
    assert not [name for name, _ in page.attributes if name.startswith('on')]
    for name in (HOSTILE, page_data.HOSTILE_ATTRIBUTE, "cat' onload=alert(3) &amp; \\u202etac"):
        assert name in page.text
    assert '\u202e' not in text
    assert not re.search(r'https?:|//', re.sub(r'base64,[\w+/=]+|<script>.*</script>', '', text, flags=re.S))
    assert ('http-equiv', 'Content-Security-Policy') in page.attributes


@pytest.mark.slow
@pytest.mark.parametrize('empty', [True, False])
@pytest.mark.parametrize('key, section', [('differences', 'certainty'), ('harm', 'harm'),
                                          ('clean_input', 'clean-input'), ('audit', 'audit')])
def test_a_part_that_was_not_computed_is_left_out(tmp_path, key, section, empty):
    results = page_data.results()
    for condition in results['conditions'].values():
        condition.update({key: {}}) if empty else condition.pop(key)
    page = Page(write(tmp_path, results, page_data.examples(1)[::3]))  # without images that got worse
    assert [name for name in SECTIONS if name in page.ids] == [name for name in SECTIONS if name != section]
    assert ('href', f'#{section}') not in page.attributes


def test_bare_scores_make_a_page(tmp_path):
    page = Page(write(tmp_path, page_data.bare_results()))
    assert [name for name in SECTIONS if name in page.ids] == ['summary', 'transfer', 'trade-off', 'reproduce']
    assert page.found('Scores of each processing')[0][1][1]['text'] == '85.8'
    assert not Page(write(tmp_path, {'baseline': 'plain', 'conditions': {}})).tables


@pytest.mark.slow
def test_the_same_data_give_the_same_bytes_and_not_many(tmp_path):
    first = write(tmp_path, examples=page_data.examples())
    assert write(tmp_path, examples=page_data.examples()) == first
    pixels = sum(image.nbytes for example in page_data.examples() for image in example.images.values())
    assert len(first) < 3 * pixels + 600_000  # images, those drawn in, the gallery; base64


@pytest.mark.parametrize('used, others, audit, words', [
    (0.2, [0.1, 0.05], 'real', 'Every recognizer gains, those never seen in training too'),
    (0.2, [0.1, 0.05], 'partly real',
     'Every recognizer gains, those never seen in training too; the gain is partly real'),
    (0.2, [0.1, 0.05], 'real or partly real',
     'Every recognizer gains, those never seen in training too; the gain is real or partly real'),
    (0.2, [0.1, 0.05], 'partly real or adversarial',
     'Every recognizer gains, those never seen in training too; the gain is partly real or adversarial'),
    (0.2, [0.1, 0.05], 'undecided',
     'Every recognizer gains, those never seen in training too; the audit of the gain is undecided'),
    (0.2, [0.1, 0.05], 'no gain', 'Every recognizer gains, those never seen in training too'),
    (0.2, [0.1, 0.05], 'adversarial', 'The gain is an adversarial pattern: it does not survive the audit'),
    (0.2, [0.1, 0.0], None, '1 of 2 recognizers never seen in training gain'),
    (0.2, [0.0, 0.0], None, 'Only the recognizer used in training surely gains'),
    (0.2, [0.1, -0.1], None, 'Mixed: 2 of 3 recognizers gain, 1 lose'),
    (0.0, [0.1], None, '1 of 2 recognizers surely gains; open on one used in training'),
    (0.0, [0.1, 0.1], 'real', '2 of 3 recognizers surely gain; open on one used in training'),
    (0.2, [], None, 'The recognizer used in training gains; none was held out'),
    (0.0, [0.001, -0.002], None, 'Open: the change cannot be distinguished from zero'),
    (0.0, [0.0, -0.1], 'real', 'Recognition gets worse')])
def test_headline(used, others, audit, words):
    names = ['used', *(f'other{i}' for i in range(len(others)))]
    scores = {name: {'top1': estimate(value)} for name, value in zip(names, [used, *others], strict=True)}
    data = {'differences': {'RA': {'scores': scores}},
            'audit': {'restorers': {'RA': {'verdict': audit, 'reason': ''}} if audit else {}}}
    results = {'baseline': 'plain', 'restorers': {'RA': {'used': ['used']}}, 'conditions': {'c': data}}
    assert verdicts(typed(results), 'c')[0].headline == words


@pytest.mark.slow
@pytest.mark.parametrize('verdict, tone', [
    ('real', 'good'), ('real or partly real', 'mixed'), ('partly real', 'mixed'),
    ('partly real or adversarial', 'mixed'), ('adversarial', 'bad'), ('undecided', 'none')])
def test_a_verdict_has_one_color_in_card_and_audit(tmp_path, verdict, tone):
    data = page_data.results()
    for condition in data['conditions'].values():
        condition['audit']['restorers']['RA']['verdict'] = verdict
    text = write(tmp_path, data)
    colors = re.findall(r'class="headline (\w+)"><span class="sign" aria-hidden="true">.</span> <strong>'
                        f'{verdict.capitalize()}</strong>', text)
    assert colors[0] == tone and AUDIT_TONES[verdict] == tone
    card = next(one for one in verdicts(typed(data), CONDITIONS[0]) if one.restorer == 'RA')
    assert card.tone == ('mixed' if verdict == 'undecided' else tone)  # all recognizers do gain


@pytest.mark.slow
def test_the_page_says_which_seeds_take_part(tmp_path):
    several, one = page_data.results(), page_data.results()
    for entry in one['restorers'].values():
        entry['seeds'] = 1
    shown = ('All seeds are audited', 'With several seeds: their mean.', 'With several seeds, the first is shown')
    for results, known in ((several, True), (one, False)):
        text = write(tmp_path, results, page_data.examples(1))
        assert [words in text for words in shown] == [known] * 3


@pytest.mark.slow
def test_without_clean_images_the_spectrum_has_no_error_to_stand_beside(tmp_path):
    data = page_data.results()
    for condition in data['conditions'].values():
        for entry in condition['audit']['restorers'].values():
            entry['spectrum']['baseline_error'] = None
    assert 'Spectrum of RA' in write(tmp_path, data)


def test_sentences_have_the_figures_and_say_what_cannot_be_said():
    told = {v.restorer: dict(v.sentences) for v in verdicts(typed(page_data.results()), CONDITIONS[0])}
    ra = told['RA']
    assert ra['Used in training'] == ('resnet: +22.3 points [+21.1, +23.5] of top-1 over plain: 62 % of the way from '
                                      'plain to clean images.')
    assert ra['Held out'] == ('4 of 4 never seen in training gain: from +11.4 points [+10.2, +12.6] (transformer) to '
                              f'+12.5 points [+11.3, +13.7] ({HOSTILE}), by top-1 (vgg, {HOSTILE} and transformer) '
                              'and voc12 mAP (fcos).')
    assert ra['Image quality'] == 'PSNR falls: \u22120.23 dB [\u22120.24, \u22120.22].'
    assert ra['Harm'] == ('Most on transformer: 6.6 % [6.2, 7.0] of all images were right without processing and are '
                          'wrong after it (plain: 7.6 %); 21.0 % the other way round (plain: 18.0 %).')
    assert ra['Audit'].startswith('Real (on 1000 of the 10000 images): real, as made up')
    assert 'cannot be distinguished from zero' in told['unsupervised RA']['Held out']
    assert told['unsupervised RA']['Held out'].startswith('None of 4 never seen in training gains; the change on vgg, ')
    small = page_data.results()
    small['conditions'][CONDITIONS[0]]['differences']['RA']['scores']['resnet']['top1'].update(
        gap=0.031, gap_recovered=None)
    assert dict(verdicts(typed(small), CONDITIONS[0])[0].sentences)['Used in training'].endswith(
        'Clean images are +3.1 points above plain: too small a gap to speak of recovery.')


def test_the_headline_counts_what_stands_corrected_for_the_number_of_recognizers():
    made = page_data.results()
    difference = made['conditions'][CONDITIONS[0]]['differences']['RA']
    assert all(metrics[next(iter(metrics))]['low'] > 0 for metrics in difference['scores'].values())
    difference['family'] = {'comparisons': 5, 'up': ['resnet', 'vgg'], 'down': []}
    ra = verdicts(typed(made), CONDITIONS[0])[0]
    assert ra.headline == '1 of 4 recognizers never seen in training gain'
    told = dict(ra.sentences)
    assert told['Held out'].startswith('1 of 4 never seen in training gains; the change on ')
    assert told['Counted'].startswith('5 recognizers are compared at once') and 'Holm' in told['Counted']
    assert told['Held out'].split(':')[0].endswith('cannot be distinguished from zero once corrected for how many '
                                                   'there are')
    difference['scores']['vgg'] = {'top1': estimate(0.0)}
    difference['family']['up'] = ['resnet', 'densenet']
    apart = dict(verdicts(typed(made), CONDITIONS[0])[0].sentences)['Held out']
    assert 'the change on vgg cannot be distinguished from zero; the change on ' in apart
    del difference['family']
    assert 'Counted' not in dict(verdicts(typed(made), CONDITIONS[0])[0].sentences)


def test_a_verdict_on_some_of_the_images_says_on_how_many():
    made = page_data.results()
    data = made['conditions'][CONDITIONS[0]]
    data['n'], data['audit']['n'] = 100, 40
    told = dict(verdicts(typed(made), CONDITIONS[0])[0].sentences)
    assert told['Audit'].startswith('Real (on 40 of the 100 images): ')
    data['audit']['n'] = 100
    assert dict(verdicts(typed(made), CONDITIONS[0])[0].sentences)['Audit'].startswith('Real: ')


@pytest.mark.parametrize('clean, none', [(0.8, 0.8), (0.8, 0.799), (0.9, 0.3)])
def test_names_of_levels_do_not_lie_upon_each_other(clean, none):
    results = page_data.results()
    for metrics, value in ((results['conditions'][CONDITIONS[0]]['processings'][name]['scores']['resnet'], value)
                           for name, value in (('clean', clean), ('no processing', none))):
        metrics['top1'].update(estimate(value))
    drawn = str(charts.trade_off_charts(typed(results), CONDITIONS[0])[0].svg)
    first, second = (float(re.search(rf'y="([\d.]+)">{name}</text>', drawn)[1]) for name in ('clean', 'no processing'))
    assert second - first >= 14


def test_a_gap_that_does_not_bound_a_share_is_called_uncertain():
    made = page_data.results()
    made['conditions'][CONDITIONS[0]]['differences']['RA']['scores']['resnet']['top1'].update(
        gap=0.06, gap_recovered=None)
    assert dict(verdicts(typed(made), CONDITIONS[0])[0].sentences)['Used in training'].endswith(
        'Clean images are +6.0 points above plain: too uncertain a gap to speak of recovery.')


def test_what_the_intervals_are_over():
    made = page_data.results()
    assert formats.coverage(typed(made)) == (
        'The intervals are over the images, and for RA also over trainings from other seeds. They do not include the '
        f'effect of another seed on plain, unsupervised RA and {HOSTILE_ATTRIBUTE}, which have one seed.')
    for restorer in made['restorers'].values():
        restorer['seeds'] = 3
    assert 'one seed' not in formats.coverage(typed(made)) and 'RA' in formats.coverage(typed(made))


@pytest.mark.slow
def test_how_many_intervals_there_are_and_which_cannot_be_told(tmp_path):
    made = page_data.results()
    condition = made['conditions'][CONDITIONS[0]]
    for difference in condition['differences'].values():
        difference['scores'][DETECTOR]['voc12_mAP'].update(low=None, high=None)
    condition['too_few_images'] = {DETECTOR: {HOSTILE: 1, 'cell': 2}}
    many = sum(len(metrics) for difference in condition['differences'].values()
               for name, metrics in difference['scores'].items() if name != DETECTOR)
    assert formats.comparisons(typed(made).conditions[CONDITIONS[0]]) == many == 12
    write_page(typed(made), [], tmp_path / 'page.html')
    text = (tmp_path / 'page.html').read_text()
    assert 'about 1 of 12 would exclude zero by chance' in text and HOSTILE not in text
    assert '(1 image) and cell (2 images).' in text


@pytest.mark.parametrize('text, expected', [
    (formats.number(-0.04, 1, True), '0.0'), (formats.number(-0.234, 2), '\u22120.23'),
    (formats.number(math.nan), '\u2013'),
    (formats.number(3.14159, 3, True), '+3.142'), (formats.count(1234567), '1\u202f234\u202f567'),
    (formats.p_value(0.00099), '< 0.001'), (formats.p_value(0.0314), '0.031'),
    (formats.listed(['a', 'b', 'c']), 'a, b and c'), (formats.interval(Estimate(0.1, math.nan, 0.1)), '')])
def test_numbers_as_text(text, expected):
    assert text == expected


def test_colors_grow_with_the_difference_to_both_sides():
    scale = tables.color_scale(typed(page_data.results()))
    assert scale.limit == 0.25  # the largest is 0.223
    levels = [scale.level(value) for value in np.linspace(-0.25, 0.25, 101)]
    assert levels == sorted(levels) and levels == [-level for level in levels[::-1]]
    assert (levels[0], levels[50], scale.level(0.9)) == (-6, 0, 6)


@pytest.mark.slow
def test_the_legend_says_that_the_ends_stand_for_more(tmp_path):
    """Other tables than the one that the scale is made for have larger differences in the same colors."""
    assert re.search(r'<span>−25 and less</span>.*<span>\+25 points and more</span>', write(tmp_path), re.DOTALL)


def test_trade_off_points_lie_where_their_numbers_are():
    results = page_data.results()
    drawn = str(charts.trade_off_charts(typed(results), CONDITIONS[0])[0].svg)
    scores = [26.46, 26.23, 26.27, 26.48], [49.4, 61.8, 49.5, 46.4]  # PSNR and top-1 of the four restorers, by hand
    found = re.findall(r'whisker s\d" d="M([\d.]+) ([\d.]+)V([\d.]+)', drawn)
    whiskers = [[float(v) for v in numbers] for numbers in found]
    assert len(whiskers) == 4
    centers = [(bottom + top) / 2 for _, bottom, top in whiskers]
    for values, places, sign in zip(scores, ([x for x, *_ in whiskers], centers), (1, -1), strict=True):
        slope = np.diff(places) / np.diff(values)
        np.testing.assert_allclose(slope, slope[1], rtol=0.06)
        assert sign * slope[1] > 0
    front = re.search(r'class="front" points="([^"]+)"', drawn)[1].split()
    assert len(front) == 4


@pytest.mark.slow
def test_a_score_that_is_defined_of_none_has_a_dash_and_no_chart(tmp_path):
    results, unknown = page_data.results(), {'value': None, 'low': None, 'high': None}
    for condition in results['conditions'].values():
        for entry in condition['processings'].values():
            entry['scores'][DETECTOR]['voc12_mAP'].update(unknown, seeds=None)
        for entry in condition['differences'].values():
            entry['scores'][DETECTOR]['voc12_mAP'].update(unknown, gap=None, gap_recovered=None)
    page = Page(write(tmp_path, results, page_data.examples(1)))
    assert [chart.title for chart in charts.trade_off_charts(typed(results), CONDITIONS[0])] == list(CLASSIFIERS)
    column = 1 + RECOGNIZERS.index(DETECTOR)
    assert {row[column]['text'] for row in page.found('Scores of each processing')[0][1:]} == {'\u2013'}


def test_the_front_leaves_out_what_is_beaten():
    results = page_data.results()
    results['conditions'][CONDITIONS[0]]['processings']['plain']['psnr'] = 26.0  # below RA, and worse
    drawn = str(charts.trade_off_charts(typed(results), CONDITIONS[0])[0].svg)
    assert len(re.search(r'class="front" points="([^"]+)"', drawn)[1].split()) == 3


def test_spectrum_has_a_logarithmic_scale_and_leaves_out_what_has_no_logarithm():
    spectrum = Spectrum([0.1, 0.2, 0.3, 0.4], [1e-4, 1e-3, 1e-2, math.nan], [1e-2, 0, 1e-3, 1e-4])
    drawn = str(charts.spectrum_chart(spectrum, 'a', 'b').svg)
    lines = re.findall(r'<polyline class="line s\d" points="([^"]+)"', drawn)
    first, second = ([[float(v) for v in point.split(',')] for point in line.split()] for line in lines)
    assert (len(first), len(second)) == (3, 3)
    steps = np.diff(first, axis=0)
    np.testing.assert_allclose(steps[0], steps[1], atol=0.11)  # a decade a step
    assert charts.spectrum_chart(Spectrum(spectrum.frequency, [0] * 4, [math.nan] * 4), 'a', 'b') is None


@pytest.mark.parametrize('size, exact', [((32, 48), True), ((300, 200), False)])
def test_small_pictures_are_exact(size, exact):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    shown = images.picture(pixels, 'alt')
    kind, data = re.fullmatch(r'data:image/(\w+);base64,(.+)', shown.src).groups()
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert (kind == 'png', shown.small, decoded.shape) == (exact, exact, pixels.shape)
    assert (shown.height, shown.width) == size
    assert not exact or (decoded == pixels).all()


# In a browser


@pytest.fixture(scope='module')
def driver(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp('downloads')) as browser:
        yield browser


@pytest.fixture(scope='module')
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp('shown') / 'page.html'
    results = page_data.results()
    long = 'endless' * 30
    for condition in results['conditions'].values():  # a name that no phone has room for
        for part in (condition['processings'], condition['differences'], condition['harm']):
            part[long] = copy.deepcopy(part['RA'])
    write_page(typed(results), page_data.examples(3), path)
    return path.as_uri()


@pytest.fixture
def shown(driver, address):
    resize(driver, 1280, 900)
    driver.get('about:blank')
    driver.get(address)
    yield driver
    assert console(driver) == []


def visible(driver, selector):
    return [element for element in driver.find_elements(By.CSS_SELECTOR, selector) if element.is_displayed()]


def picture_of(driver, element):
    """The part of the page that an element takes, as PNG."""
    clip = driver.execute_script('''arguments[0].scrollIntoView({block: 'center', behavior: 'instant'});
        const r = arguments[0].getBoundingClientRect();
        return {x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height, scale: 1}''', element)
    return driver.execute_cdp_cmd('Page.captureScreenshot', {'clip': clip})['data']


def choose(driver, name, text):
    Select(driver.find_element(By.ID, f'f-{name}')).select_by_visible_text(text)


@pytest.mark.slow
def test_slider_moves_by_keyboard_and_changes_the_picture(shown):
    stage = visible(shown, '.example .stage')[0]
    slider = stage.find_element(By.TAG_NAME, 'input')
    before = picture_of(shown, stage)
    slider.send_keys(Keys.ARROW_RIGHT * 3)
    assert slider.get_attribute('value') == '53'
    assert slider.get_attribute('aria-valuetext') == '53 % plain, 47 % RA'
    slider.send_keys(Keys.END)
    left = picture_of(shown, stage)
    slid = shown.execute_script('return getComputedStyle(arguments[0]).clipPath',
                                stage.find_element(By.CLASS_NAME, 'before'))
    assert left != before and slid in ('inset(0px)', 'inset(0px 0% 0px 0px)')
    slider.send_keys(Keys.HOME)
    assert picture_of(shown, stage) not in (before, left)


@pytest.mark.slow
def test_both_sides_and_what_is_drawn_in_can_be_chosen(shown):
    example = visible(shown, '.example')[0]

    def sources():
        return [example.find_element(By.CLASS_NAME, side).get_attribute('src') for side in ('before', 'after')]

    def columns():
        return [cell.text for cell in example.find_elements(By.CSS_SELECTOR, 'thead th[data-processing]')
                if cell.is_displayed()]

    by_rule = sources()
    assert columns() == ['plain', 'RA']
    choose(shown, 'left', 'clean')
    choose(shown, 'right', page_data.HOSTILE_ATTRIBUTE)
    assert columns() == ['clean', page_data.HOSTILE_ATTRIBUTE]
    chosen = sources()
    assert not set(chosen) & set(by_rule)
    choose(shown, 'view', 'what fcos sees')
    assert not set(sources()) & set(chosen)
    assert [end.text for end in example.find_elements(By.CSS_SELECTOR, '.ends span')][0] == 'clean, what fcos sees'


@pytest.mark.slow
def test_filters_and_more(shown):
    status = shown.find_element(By.CLASS_NAME, 'count')
    assert (status.text, len(visible(shown, '.example'))) == ('6 of 9 images shown', 6)
    choose(shown, 'kind', 'hurt')
    assert {example.get_attribute('data-kind') for example in visible(shown, '.example')} == {'hurt'}
    choose(shown, 'condition', CONDITIONS[1])
    assert (status.text, len(visible(shown, '.example'))) == ('2 of 2 images shown', 2)
    choose(shown, 'recognizer', 'resnet')
    assert (status.text, visible(shown, '.example')) == ('No image fits this choice.', [])
    for name, everything in (('kind', 'all'), ('condition', 'all'), ('recognizer', 'any recognizer')):
        choose(shown, name, everything)
    shown.find_element(By.CLASS_NAME, 'more').send_keys(Keys.ENTER)
    assert len(visible(shown, '.example')) == 9 and not visible(shown, '.more')
    assert shown.switch_to.active_element.tag_name == 'input'  # the first of the new ones


def test_the_gallery_leads_to_images_that_are_filtered_out(shown):
    choose(shown, 'kind', 'helped')
    link = visible(shown, '.gallery a')[-1]
    target = link.get_attribute('href').split('#')[1]
    assert not shown.find_element(By.ID, target).is_displayed()
    link.send_keys(Keys.ENTER)
    assert shown.find_element(By.ID, target).is_displayed()


def test_asks_for_nothing_but_itself(shown, address):
    assert set(requested(shown)) <= {address, 'about:blank'}
    shown.execute_script("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))")
    refused = console(shown)
    assert len(refused) == 1 and 'Content Security Policy' in refused[0]


def test_first_stop_of_the_keyboard_is_the_way_past_the_navigation(shown):
    shown.find_element(By.TAG_NAME, 'body').send_keys(Keys.TAB)
    focused = shown.switch_to.active_element
    assert focused.get_attribute('class') == 'skip' and focused.rect['x'] >= 0
    focused.send_keys(Keys.ENTER)
    assert shown.switch_to.active_element.get_attribute('id') == 'main'


def test_every_field_region_and_picture_has_a_name(shown):
    unnamed = shown.execute_script('''
        return [...document.querySelectorAll('select, input, img:not(template img), svg[role=img], [role=region], nav')]
          .filter(e => !(e.labels && e.labels.length) && !e.getAttribute('aria-label') && !e.getAttribute('alt'))
          .map(e => e.outerHTML.slice(0, 80))''')
    assert unnamed == []
    levels = shown.execute_script("return [...document.querySelectorAll('h1,h2,h3,h4')].map(e => +e.tagName[1])")
    assert all(step <= 1 for step in np.diff(levels)) and levels.count(1) == 1


@pytest.mark.parametrize('width', [390, 1280])
def test_no_wider_than_the_window(shown, width):
    resize(shown, width, 844, mobile=width == 390)
    shown.execute_script("document.querySelectorAll('details').forEach(item => { item.open = true; })")
    assert shown.execute_script('return document.documentElement.scrollWidth') <= width


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_text_on_every_color_can_be_read(shown, scheme):
    preferred = [{'name': 'prefers-color-scheme', 'value': scheme}]
    shown.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': preferred})
    colors = shown.execute_script('''
        const probe = (name, tag) => { const e = document.createElement(tag); e.className = name;
          document.querySelector('.verdict').append(e);
          return [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]; };
        const paper = getComputedStyle(document.documentElement).backgroundColor;
        const heat = ['', 'p1', 'p2', 'p3', 'p4', 'p5', 'p6', 'n1', 'n2', 'n3', 'n4', 'n5', 'n6'];
        return [...heat.map(name => probe('heat ' + name, 'i')),
          ...['note', 'right', 'wrong', 'sign'].map(name => [probe(name, 'span')[0], paper])];''')
    shown.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': []})
    assert len({background for _, background in colors}) == 14
    for text, background in colors:
        light, dark = sorted((luminance(color) for color in (text, background)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, background)


def luminance(color):
    """Relative luminance as WCAG 2 defines it."""
    values = np.array([int(v) for v in re.findall(r'\d+', color)[:3]]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


@pytest.mark.slow
def test_on_paper_everything_is_unfolded_and_nothing_is_a_control(shown):
    shown.execute_cdp_cmd('Emulation.setEmulatedMedia', {'media': 'print'})
    assert not visible(shown, '.controls, .compare, .more, nav')
    assert len(visible(shown, '.example')) == 9
    assert len(visible(shown, '.example:first-child .strip img')) == 12  # six processings, and what fcos sees in each
    heights = shown.execute_script("return [...document.querySelectorAll('details table')].map(e => e.offsetHeight)")
    shown.execute_cdp_cmd('Emulation.setEmulatedMedia', {'media': ''})
    assert min(heights) > 0
    printed = base64.b64decode(shown.execute_cdp_cmd('Page.printToPDF', {})['data'])
    assert printed.startswith(b'%PDF')
    assert shown.execute_script("return document.querySelectorAll('details[open]').length") == 0  # folded again


@pytest.mark.browser
def test_without_javascript_everything_is_there(driver, address):
    driver.execute_cdp_cmd('Emulation.setScriptExecutionDisabled', {'value': True})
    try:
        driver.get(address)
        assert not visible(driver, '.controls, .more')
        assert len(visible(driver, '.example')) == 9
        assert len(visible(driver, '.example:first-child .strip img')) == 12
        assert len(visible(driver, '.example:first-child thead th[data-processing]')) == 6
    finally:
        driver.execute_cdp_cmd('Emulation.setScriptExecutionDisabled', {'value': False})
