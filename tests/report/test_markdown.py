"""The tables of an evaluation as the paper has them: 1 and 2 for one way of training with several recognizers, 3."""
import copy

import pytest
from page_data import typed

from ra_plugin.report.formats import alone
from ra_plugin.report.markdown import to_markdown


def entry(*values):
    scores = {name: {'top1': {'value': value, 'low': value - 0.01, 'high': value + 0.01, 'seeds': None}}
              for name, value in zip(('r18', 'v|16'), values, strict=False)}
    return {'psnr': 26.0, 'ssim': 0.8, 'scores': scores}


def rows(text, start):
    lines = text[text.index(start):].splitlines()[2:]
    table = lines[:lines.index('')] if '' in lines else lines
    return [[cell.strip() for cell in line.replace('\\|', '/').strip('|').split('|')] for line in table
            if not line.startswith('|-')]


def test_tables_1_and_2_of_the_paper():
    processings = {'clean': {**entry(0.8, 0.7), 'psnr': None, 'ssim': None}, 'no processing': entry(0.4, 0.3),
                   'plain': entry(0.5, 0.45), 'a': entry(0.61, 0.52), 'b': entry(0.57, 0.59)}
    results = {
        'baseline': 'plain',
        'restorers': {'plain': {'seeds': 1, 'used': [], 'method': 'plain'},
                      'a': {'seeds': 1, 'used': ['r18'], 'method': 'RA'},
                      'b': {'seeds': 1, 'used': ['v|16'], 'method': 'RA'}},
        'conditions': {'set': {'n': 9, 'processings': processings, 'differences': {}}}}
    text = to_markdown(typed(results))
    assert rows(text, 'Each recognizer on images restored with itself') == [
        ['processing', 'r18', 'v/16'], ['no processing', '40.0', '30.0'], ['plain', '50.0', '45.0'],
        ['RA', '61.0', '59.0']]
    assert rows(text, 'Transfer of RA') == [
        ['trained with', 'r18', 'v/16'], ['r18', '61.0', '52.0'], ['v/16', '57.0', '59.0']]
    results['restorers']['b']['used'] = []
    assert 'Transfer of' not in to_markdown(typed(results))


def test_table_3_of_the_paper():
    """Where recognizers judge some of the conditions, these are side by side."""
    def condition(recognizer, *values):
        processings = {name: entry(value) for name, value in zip(('clean', 'plain', 'RA'), values, strict=False)}
        for made in processings.values():
            made['scores'] = {recognizer: made['scores']['r18']}
        return {'n': 9, 'processings': processings, 'differences': {}}

    results = {'baseline': 'plain',
               'restorers': {name: {'seeds': 1, 'used': [], 'method': name} for name in ('plain', 'RA')},
               'conditions': {'half A': condition('r18 A', 0.8, 0.5, 0.6), 'half B': condition('r18 B', 0.9, 0.4, 0.7)}}
    del results['conditions']['half B']['processings']['plain']  # not for it
    text = to_markdown(typed(results))
    assert rows(text, 'Scores in %, with 95 % intervals: each recognizer judges its own') == [
        ['processing', 'half A: r18 A', 'half B: r18 B'],
        ['clean', '80.0 [79.0, 81.0]', '90.0 [89.0, 91.0]'], ['plain', '50.0 [49.0, 51.0]', ''],
        ['RA', '60.0 [59.0, 61.0]', '70.0 [69.0, 71.0]']]
    results['conditions']['half B'] = copy.deepcopy(results['conditions']['half A'])
    assert 'its own' not in to_markdown(typed(results))


def test_what_the_intervals_are_over_how_many_there_are_and_which_cannot_be_told():
    def difference(*values):
        scores = entry(*values)['scores']
        for metrics in scores.values():
            metrics['top1'].update(gap=0.06, gap_recovered=None)
        return {'psnr': {'value': 0, 'low': 0, 'high': 0}, 'scores': scores}

    processings = {'clean': {**entry(0.8, 0.7), 'psnr': None, 'ssim': None}, 'plain': entry(0.5, 0.4),
                   'RA': entry(0.6, 0.5)}
    differences = {'RA': difference(0.1, 0.1)}
    differences['RA']['scores']['v|16']['top1'].update(low=None, high=None)
    results = {'baseline': 'plain', 'restorers': {'plain': {'seeds': 3, 'used': [], 'method': 'plain'},
                                                  'RA': {'seeds': 1, 'used': [], 'method': 'RA'}},
               'conditions': {'set': {'n': 9, 'processings': processings, 'differences': differences,
                                      'too_few_images': {'v|16': {'cat': 1, 'dog': 2}}}}}
    text = to_markdown(typed(results))
    assert ('The intervals are over the images, and for plain also over trainings from other seeds. They do not '
            'include the effect of another seed on RA, which has one seed.') in text
    assert 'have no interval, so no gain or loss is sure: too few images hold cat (1 image) and dog (2 images).' in text
    assert 'would exclude zero by chance' not in text  # there is one interval
    assert rows(text, 'Differences to plain')[1] == ['RA', '+0.00 [+0.00, +0.00]', '+10.0 [+9.0, +11.0]', '+10.0']
    assert rows(text, 'Differences to plain')[2][2:] == ['gap too uncertain', 'gap too uncertain']
    differences['RA']['scores']['v|16']['top1']['gap'] = None  # of a score that is not defined, as mAP without boxes
    assert rows(to_markdown(typed(results)), 'Differences to plain')[2][2:] == ['gap too uncertain', '']
    differences['RA']['scores']['v|16']['top1'].update(low=0.0, high=0.1)
    assert 'each of the 2 would exclude zero by chance one time in 20' in to_markdown(typed(results))


@pytest.mark.parametrize('number, words', [
    (2, 'each of the 2 would exclude zero by chance one time in 20'), (12, 'about 1 of 12 would exclude'),
    (60, 'about 3 of 60 would exclude')])
def test_false_gains_among_several_intervals_are_one_in_twenty(number, words):
    assert words in alone(number)
