"""What is said before the numbers, and in the sentences beside them: nothing that they do not bear."""
import math
import re

import page_data
import pytest
from page_data import CONDITIONS, estimate, typed
from test_page import Page, write

from ra_plugin.report import tables
from ra_plugin.report.formats import coverage
from ra_plugin.report.html_table import shown_table
from ra_plugin.report.markdown import to_markdown
from ra_plugin.report.metrics import Metric, main_metrics, metric_of
from ra_plugin.report.notes import notes, warnings
from ra_plugin.report.table_types import UNITS
from ra_plugin.report.verdict import verdicts
from ra_plugin.results import Estimate, MetricFacts

KL = {'kl': {'better': 'lower', 'unit': 'nats', 'against': 'clean answers'},
      'top1_agreement': {'better': 'higher', 'unit': 'share', 'against': 'clean answers'}}


def results(scores, against_none=None, metric='top1', used=('used',), **data):
    """Differences by recognizer, and those from no processing; keys of ``data`` go to the condition."""
    def of(values):
        return {'scores': {name: {metric: {**estimate(value), **more}} for name, (value, more) in values.items()}}

    plain = {name: value if isinstance(value, tuple) else (value, {}) for name, value in scores.items()}
    condition = {'n': 100, 'differences': {'RA': of(plain)}, **data}
    if against_none:
        condition['differences_from_no_processing'] = {
            restorer: of({name: (value, {}) for name, value in values.items()})
            for restorer, values in against_none.items()}
    return {'baseline': 'plain', 'restorers': {'RA': {'used': list(used)}}, 'conditions': {'c': condition},
            'recognition_metrics': KL}


def chance(*names, processing='clean'):
    return {name: {'processing': processing, 'metric': 'top1', 'score': 0.01, 'chance': 0.1, 'at_chance': True}
            for name in names}


def test_who_reads_clean_images_by_chance_is_warned_of_first_and_not_counted():
    data = results({'used': 0.2, 'blind': 0.0, 'other': 0.1}, chance=chance('blind'))
    said = warnings(typed(data), 'c')
    assert len(said) == 1 and said[0].startswith('blind reads clean images no better than by chance, or hardly: 1.0 % '
                                                 'top-1, and answers in random order would have 10.0 %.')
    verdict = verdicts(typed(data), 'c')[0]
    assert verdict.headline == 'Every recognizer gains, those never seen in training too'
    assert dict(verdict.sentences)['Held out'].startswith('1 of 1 never seen')
    assert dict(verdict.sentences)['Not counted'] == 'blind, which hardly reads clean images.'
    data = results({'used': 0.0, 'blind': 0.0}, chance=chance('used', 'blind'))
    headline = verdicts(typed(data), 'c')[0].headline
    assert headline == 'No conclusion: no recognizer reads images better than by chance'
    assert 'even those of RA' in warnings(typed(results({'x': 0.1}, chance=chance('x', processing='RA'))), 'c')[0]


@pytest.mark.parametrize('differences, against_none, headline, tone', [
    ({'used': 0.2, 'a': 0.1}, {'used': 0.1, 'a': -0.05},
     'Every recognizer gains, those never seen in training too; yet worse than no processing on 1 of 2 recognizers',
     'mixed'),
    ({'used': 0.2, 'a': 0.1}, {'used': 0.1, 'a': 0.0},
     'Every recognizer gains, those never seen in training too', 'good'),
    ({'used': -0.2, 'a': -0.1}, {'used': -0.3, 'a': -0.2},
     'Recognition gets worse; and worse than no processing on 2 of 2 recognizers', 'bad'),
    ({'used': 0.0, 'a': 0.0}, {'used': -0.3, 'a': 0.0},
     'Open: the change cannot be distinguished from zero; and worse than no processing on 1 of 2 recognizers', 'bad')])
def test_what_is_worse_than_no_processing_is_on_the_first_screen(differences, against_none, headline, tone):
    verdict = verdicts(typed(results(differences, {'RA': against_none})), 'c')[0]
    assert (verdict.headline, verdict.tone) == (headline, tone)
    worse = [name for name, value in against_none.items() if value < -0.02]
    said = dict(verdict.sentences)['No processing']
    assert all(f'{name} (\u2212' in said for name in worse) and ('surely worse' in said) == bool(worse)


def test_a_baseline_that_is_worse_than_no_processing_is_noted():
    data = results({'used': 0.2}, {'plain': {'used': -0.1}, 'RA': {'used': 0.1}})
    assert notes(typed(data), 'c') == [
        'plain, which the others are compared with, is itself surely worse than no processing for used (\u221210.0 '
        'points [\u221211.2, \u22128.8]): a gain over it need not be one over the images as they were.']
    assert not notes(typed(results({'used': 0.2}, {'plain': {'used': 0.0}})), 'c')


@pytest.mark.parametrize('share, words', [
    (-0.67, r'against plain: further away from clean images than plain is, by 67 % of the way to them\.'),
    (0.67, r'over plain: 67 % of the way from plain to clean images\.'),
    (1.2, r'over plain: more than all of the way from plain to clean images \(120 %\)\.')])
def test_shares_of_the_gap_are_said_as_what_they_are(share, words):
    data = results({'used': (0.3 * share, {'gap': 0.3, 'gap_recovered': estimate(share)})})
    assert re.search(words, dict(verdicts(typed(data), 'c')[0].sentences)['Used in training'])


def test_where_the_baseline_is_read_no_worse_than_clean_images_there_is_no_gap_to_be_too_small():
    data = results({'used': (0.2, {'gap': -0.02, 'gap_recovered': None})})
    told = dict(verdicts(typed(data), 'c')[0].sentences)['Used in training']
    assert 'plain is read no worse than clean images' in told


@pytest.mark.parametrize('metric, good', [('top1_agreement', 0.2), ('kl', -0.2)])
def test_agreement_is_never_called_recognition(metric, good):
    better = verdicts(typed(results({'used': good, 'a': good}, metric=metric)), 'c')[0]
    worse = verdicts(typed(results({'used': -good, 'a': -good}, metric=metric)), 'c')[0]
    assert better.headline == ('Every recognizer agrees more with its answers on clean images, those never seen in '
                               'training too')
    assert worse.headline == 'Recognizers agree less with their answers on clean images'
    told = ' '.join(sentence for verdict in (better, worse) for _, sentence in verdict.sentences)
    assert '1 of 1 never seen in training agrees more with its answers on clean images' in told
    assert 'a agrees less' in told and 'ecogni' not in told and ('nats' in told) == (metric == 'kl')
    mixed = verdicts(typed(results({'used': good, 'a': -good}, metric=metric)), 'c')[0]
    assert mixed.headline == 'Mixed: 1 of 2 recognizers agree more with their answers on clean images, 1 less'


def test_less_divergence_is_a_gain_and_has_no_color():
    metric = metric_of(typed({'baseline': '', 'conditions': {}, 'recognition_metrics': KL}), 'kl')
    assert [metric.direction(Estimate(**estimate(value))) for value in (-0.1, 0.1, 0.001)] == ['up', 'down', 'unclear']
    data = results({'used': -0.2}, metric='kl')
    table = tables.difference_table(typed(data), 'c', tables.color_scale(typed(data)))
    table = shown_table(table)
    cell = table.rows[0][1][0]
    assert (cell.text, cell.note, cell.level) == ('\u22120.200', '[\u22120.212, \u22120.188]', None)
    assert table.heads[1].note == 'KL, nats, lower is better'


@pytest.mark.slow
def test_open_cells_are_not_colored(tmp_path):
    data = page_data.results()
    wide = data['conditions'][CONDITIONS[0]]['differences']['RA']['scores']['vgg']['top1']
    wide.update(value=0.2, low=-0.1, high=0.5)
    row = Page(write(tmp_path, data)).found('Gain over the baseline')[0][1]
    assert '+20.0' in row[2]['text'] and row[2]['class'].strip() == 'heat'
    assert re.fullmatch('heat p[1-6]', row[1]['class'])


@pytest.mark.slow
def test_warnings_and_notes_are_on_the_page_and_in_the_tables_before_the_numbers(tmp_path):
    data = page_data.results()
    condition = data['conditions'][CONDITIONS[0]]
    condition['chance'] = chance('vgg')
    condition['processings']['plain']['exact'] = 1
    condition['differences_from_no_processing'] = {name: condition['differences']['RA'] for name in ('plain', 'RA')}
    page = Page(write(tmp_path, data, page_data.examples(1)))
    assert page.text.index('vgg reads clean images no better') < page.text.index('Every recognizer')
    assert 'left out of its mean: plain 1 of 10000' in page.text
    rows = page.found('Restorers against no processing')[0]
    assert [row[0]['text'] for row in rows[1:]] == ['plain minus no processing', 'RA minus no processing']
    scores = {row[0]['text']: row for row in page.found('Scores of each processing')[0]}
    assert scores['plain baseline'][-2]['text'] == '26.46 1 exact left out'


def test_embeddings_without_a_direction_are_counted():
    data = results({'used': 0.1}, processings={
        'clean': {'scores': {}}, 'plain': {'scores': {}, 'without_answer': {'faces': 1}},
        'RA': {'scores': {}, 'without_answer': {'faces': 7, 'other': 2}}})
    assert [note for note in notes(typed(data), 'c') if 'finite' in note] == [
        f'Embeddings of {name} that are zero or not finite count as a similarity of 0 to all others: {counts}. Check '
        'its weights and numbers of 16 bits, which may overflow.' for name, counts in (
            ('faces', 'plain 1 of 100 and RA 7 of 100'), ('other', 'RA 2 of 100'))]


def test_images_that_are_all_restored_exactly_are_exact():
    entry = {'psnr': None, 'ssim': 1.0, 'exact': 5, 'undefined': {}, 'scores': {}}
    data = {'baseline': 'no processing', 'restorers': {}, 'conditions': {'c': {
        'n': 5, 'differences': {},
        'processings': {'clean': {'psnr': None, 'ssim': None, 'scores': {}}, 'same': entry}}}}
    assert '| same       | exact | 1.0000 |' in to_markdown(typed(data))


@pytest.mark.slow
def test_pictures_have_the_names_of_their_files(tmp_path):
    shown = page_data.examples(1)
    named = [type(example)(**{**vars(example), 'name': f'dog/{i}.png'}) for i, example in enumerate(shown)]
    assert ': dog/0.png' in Page(write(tmp_path, examples=named)).text


def test_a_cosine_is_no_share_and_has_no_unit_beside_its_name():
    metric = Metric('mean_cosine', MetricFacts('higher', 'cosine', 'clean answers'))
    assert (metric.title, metric.axis) == ('mean cosine, higher is better',) * 2
    assert metric.difference(Estimate(0.1, 0.05, 0.15)) == '+0.100 [+0.050, +0.150]'
    assert metric.value(0.8312) == '0.831' and not metric.is_share and metric.is_agreement
    kl = Metric('kl', MetricFacts('lower', 'nats', 'clean answers'))
    assert kl.title == 'KL, nats, lower is better'
    assert kl.difference(Estimate(-0.1, -0.2, 0)).startswith('\u22120.100 nats [')
    assert Metric('top1').axis == 'top-1 (%)'


FACES = {**{name: {'better': 'higher', 'unit': 'share', 'against': 'labels', 'over': 'identities'}
            for name in ('tar_at_far', 'recall_at_1')},
         'mean_cosine': {'better': 'higher', 'unit': 'cosine', 'against': 'clean answers'}}


def of_faces(**changes):
    """Results whose differences of `RA` to plain, by metric of each recognizer, are these."""
    scores = {recognizer: {metric: estimate(value) for metric, value in metrics.items()}
              for recognizer, metrics in changes.items()}
    return {'baseline': 'plain', 'restorers': {'RA': {}}, 'recognition_metrics': FACES, 'conditions': {'c': {
        'n': 100, 'differences': {'RA': {'scores': scores}},
        'processings': {name: {'scores': scores} for name in ('no processing', 'plain', 'RA')},
        'clean_input': {'n': 100, 'restorers': {'RA': {'scores': scores}}}}}}


@pytest.mark.parametrize('values, rising', [
    ({'tar_at_far': 0.1, 'recall_at_1': 0.1, 'mean_cosine': -0.1},
     'TAR at FAR 1e-3 and recall at 1 of faces surely rise'),
    ({'tar_at_far': 0.001, 'recall_at_1': 0.1, 'mean_cosine': -0.1}, 'recall at 1 of faces surely rises'),
    ({'recall_at_1': 0.1, 'mean_cosine': -0.001}, None), ({'recall_at_1': 0.001, 'mean_cosine': -0.1}, None),
    ({'recall_at_1': 0.1, 'mean_cosine': 0.1}, None), ({'recall_at_1': 0.1}, None)])
def test_people_who_become_others_are_noted(values, rising):
    said = [note for note in notes(typed(of_faces(faces=values)), 'c') if 'replaced' in note]
    assert len(said) == bool(rising) and all(note.startswith(f'RA against plain: {rising} while the mean cosine to the '
                                                             'clean images surely falls.') for note in said)


def test_identities_are_no_classes():
    at_chance = {'processing': 'clean', 'metric': 'recall_at_1', 'score': 0.02, 'chance': 0.02, 'at_chance': True}
    data = of_faces(faces={'recall_at_1': 0.0})
    data['conditions']['c']['chance'] = {'faces': at_chance}
    said, = warnings(typed(data), 'c')
    assert 'identities in random order would have 2.0 %' in said and 'classes' not in said
    assert 'Check its weights, and that each folder is one identity: ra-plugin doctor.' in said
    variety = {'answer': None, 'of': 'pairs', 'share': 0.98, 'metric': 'mean_cosine', 'score': 0.99, 'constant': 0.98,
               'processing': 'plain', 'little': True}
    data['conditions']['c']['variety'] = {'faces': variety}
    assert notes(typed(data), 'c')[-1].endswith('Unless these images are like that, check its weights.')


def test_why_there_is_no_interval_is_said():
    data = of_faces(faces={'recall_at_1': 0.5, 'tar_at_far': 0.5, 'mean_cosine': 0.5})
    assert not [note for note in notes(typed(data), 'c') if 'interval' in note]
    for entry in data['conditions']['c']['processings'].values():
        for metric in ('recall_at_1', 'tar_at_far'):
            entry['scores']['faces'][metric] = {'value': 0.5, 'low': None, 'high': None}
    said, = (note for note in notes(typed(data), 'c') if 'interval' in note)
    assert said.startswith('recall at 1 and TAR at FAR 1e-3 of faces have no interval, so no gain or loss is sure')
    data['conditions']['c']['n'] = 1
    assert [note for note in notes(typed(data), 'c') if note.startswith('There is one image, which says')]
    assert 'on 1 image (saved' in to_markdown(typed(data))


def test_another_person_is_noted_against_no_processing_too():
    data = of_faces(faces={'recall_at_1': 0.0, 'mean_cosine': 0.0})
    data['conditions']['c']['differences_from_no_processing'] = of_faces(
        faces={'recall_at_1': 0.1, 'mean_cosine': -0.1})['conditions']['c']['differences']
    said, = (note for note in notes(typed(data), 'c') if 'replaced' in note)
    assert said.startswith('RA against no processing: recall at 1 of faces surely rises')


@pytest.mark.parametrize('metrics, score, gain', [
    (['mean_cosine'], 'as cosines', 'as cosines'), (['recall_at_1'], 'in %', 'in points'),
    (['recall_at_1', 'mean_cosine'], 'in %; mean cosine as cosines', 'in points; mean cosine as cosines')])
def test_units_above_tables_are_those_of_the_numbers_below(tmp_path, metrics, score, gain):
    data = of_faces(faces=dict.fromkeys(metrics, 0.1))
    text = to_markdown(typed(data))
    assert f'Scores {score}, with 95 % intervals, on 100 images' in text
    assert f'Differences to plain on the same images, {gain}. Bold' in text
    assert f'minus that of the clean image itself, {gain}.' in text
    page, main = Page(write(tmp_path, data)), [metrics[0]] if len(metrics) > 1 else metrics
    of_main = ('as cosines',) * 2 if main == ['mean_cosine'] else ('in %', 'in points')
    captions = [table['caption'] for table in page.tables]
    assert f'Scores of each processing, {of_main[0]}' in captions
    assert f'Gain over the baseline on the same images, {of_main[1]}; the 95 % interval below' in captions
    assert len(metrics) == 1 or 'Scores by the other metrics, as cosines' in captions
    assert not any(UNITS in caption for caption in captions)
    gains = page.found('How sure each gain is')[0][0]
    assert gains[1]['text'] == f'gain {of_main[1].removeprefix("in ")}'


def test_the_audit_names_its_metric_and_its_unit(tmp_path):
    data = of_faces(faces={'mean_cosine': 0.1}, net={'recall_at_1': 0.2})
    data['conditions']['c']['audit'] = {
        'n': 50, 'views': ['8 bit'], 'metrics': {'faces': 'mean_cosine', 'net': 'recall_at_1'}, 'restorers': {'RA': {
            'verdict': 'real', 'reason': 'Made up.', 'gains': {name: {'8 bit': estimate(value)} for name, value in
                                                               (('faces', 0.1), ('net', 0.2))}}}}
    text = to_markdown(typed(data))
    assert 'Audit: gain over plain in points; mean cosine as cosines when the image is changed a little (50' in text
    assert '| RA         | faces mean cosine \u2191 | +0.100 [+0.088, +0.112] |' in re.sub(' +', ' ', text).replace(
        '| RA | ', '| RA         | ')
    assert 'net recall_at_1' in text and '+20.0 [+18.8, +21.2]' in text
    caption = 'changed in the same way, in points; mean cosine as cosines (50 images)'
    rows = Page(write(tmp_path, data)).found(caption)[0]
    assert [row[0]['text'] for row in rows[1:]] == ['faces mean cosine, higher is better', 'net recall at 1']
    assert [row[1]['text'] for row in rows[1:]] == ['+0.100 [+0.088, +0.112]', '+20.0 [+18.8, +21.2]']


def test_the_card_names_the_metric_of_those_held_out():
    data = of_faces(faces={'tar_at_far': 0.2, 'recall_at_1': 0.1}, net={'recall_at_1': 0.2})
    told = dict(verdicts(typed(data), 'c')[0].sentences)['Recognizers']
    assert told.endswith('(net), by TAR at FAR 1e-3 (faces) and recall at 1 (net).')


def test_the_main_metric_is_one_with_a_value():
    facts = {name: {'better': 'higher', 'unit': 'share', 'against': 'labels', 'over': 'identities'}
             for name in ('tar_at_far', 'recall_at_1')}
    results = typed({'baseline': 'plain', 'recognition_metrics': facts, 'conditions': {}})
    unknown, known = Estimate(math.nan, math.nan, math.nan), Estimate(0.2, 0.1, 0.3)
    for scores, name in (({'tar_at_far': unknown, 'recall_at_1': known}, 'recall_at_1'),
                         ({'tar_at_far': known, 'recall_at_1': known}, 'tar_at_far'),
                         ({'tar_at_far': unknown, 'recall_at_1': unknown}, 'tar_at_far')):
        assert main_metrics(results, {'faces': scores})['faces'].name == name
    assert coverage(results) == ('The intervals are over the images (those of TAR at FAR 1e-3 and recall at 1: over '
                                 'the identities).')
