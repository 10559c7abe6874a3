"""The page of a sweep begins with its answer: the weight, why, a plot and a table; or that no weight can be named."""
import re

import numpy as np
import page_data
import pytest
from browser import chromium, console, resize
from page_data import typed
from selenium.webdriver.common.by import By
from test_page import Page, write
from test_sweep import difference

from ra_plugin.report.sweep import sweep_answer, sweep_charts, sweep_lines
from ra_plugin.results import to_plain
from ra_plugin.studies.sweep.weight_choice import answer


def results(used=('0',), budget=0.1, name='x2', psnrs=(-0.02, -0.08, -0.3), gains=(0.05, 0.11, 0.16)):
    """Made-up results of a sweep over three weights with two recognizers."""
    differences = {f'weight {weight:g}': difference(psnr, 2 * gain, gain)
                   for weight, psnr, gain in zip((1e-4, 1e-3, 1e-2), psnrs, gains, strict=True)}
    conditions = {name: {'n': 100, 'processings': {}, 'differences': differences}}
    data = {'name': 'sweep', 'baseline': 'weight 0', 'conditions': conditions,
            'restorers': {name: {'used': list(used), 'seeds': 1} for name in ('weight 0', *differences)},
            'recognizers': {str(i): {'metrics': ['top1']} for i in range(2)}}
    data['restorers']['weight 0']['used'] = []
    return {**data, 'sweep': to_plain(answer(typed(data), budget))}


def test_the_page_begins_with_the_answer_and_its_table(tmp_path):
    page = Page(write(tmp_path, results()))
    sections = [name for name in page.ids if name in ('sweep', 'summary', 'transfer')]
    assert sections == ['sweep', 'summary', 'transfer']
    assert 'Weight 0.001: +11.0 points [+9.8, +12.2], \u22120.08 dB [\u22120.09, \u22120.07].' in page.text
    assert 'The gain is that of 1, never used in training.' in page.text
    rows = [[cell['text'] for cell in row] for row in page.found('What each weight gives over weight 0')[0]]
    assert rows[0] == ['weight', 'mean gain points, never used', 'mean gain points, used in training', 'PSNR dB']
    assert rows[1][:2] == ['0.0001', '+5.0 [+3.8, +6.2]'] and rows[2][0] == '0.001 chosen'
    assert rows[3][0] == '0.01 over budget' and rows[3][3].startswith('\u22120.30')


@pytest.mark.parametrize('changes, reason', [
    ({'gains': (0.0, 0.01, 0.011)}, 'No weight has a mean gain that is surely above zero.'),
    ({'budget': 0.02}, 'No weight that surely gains surely costs no more than 0.02 dB.'),
    ({'psnrs': (None,) * 3}, 'There is no PSNR here, so that no weight can be said to keep to the budget.')])
def test_no_weight_and_why(tmp_path, changes, reason):
    data = results(**changes)
    told = sweep_answer(typed(data), 'x2')
    assert (told.headline, told.tone) == ('No weight above 0 can be named', 'none')
    text = write(tmp_path, data)
    assert reason in text and told.headline in text and reason in next(iter(sweep_lines(typed(data))))


def test_without_recognizers_held_out_the_page_says_so():
    told = dict(sweep_answer(typed(results(used=('0', '1'))), 'x2').sentences)
    assert told['Recognizers'] == 'The gain is the mean of 0 and 1; none was held out of a training.'
    assert 'Used in training' not in told


def test_points_lie_where_their_numbers_are():
    gain, psnr = sweep_charts(typed(results()), 'x2')
    for chart, values in ((gain, (5, 11, 16)), (psnr, (-0.02, -0.08, -0.3))):
        drawn = str(chart.svg)
        line = re.search(r'class="line s0" points="([^"]+)"', drawn)[1]
        places = np.array([[float(v) for v in point.split(',')] for point in line.split()])
        np.testing.assert_allclose(np.diff(places[:, 0]), np.diff(places[:, 0])[0], atol=0.11)
        slopes = np.diff(places[:, 1]) / np.diff(values)
        np.testing.assert_allclose(slopes, slopes[0], rtol=0.03)
        assert slopes[0] < 0 and len(re.findall('class="whisker s0"', drawn)) == 3
    assert 'never used, 1e-4: +5.00 [+3.78, +6.22]' in re.search('aria-label="([^"]+)"', str(gain.svg))[1]
    assert '>budget</text>' in str(psnr.svg)
    assert '>budget</text>' not in str(sweep_charts(typed(results(budget=None)), 'x2')[1].svg)
    assert len(sweep_charts(typed(results(psnrs=(None,) * 3)), 'x2')) == 1


def test_names_are_text_and_nothing_else(tmp_path):
    page = Page(write(tmp_path, results(name=page_data.HOSTILE)))
    assert page.tags.count('script') == 1 and page_data.HOSTILE in page.text.replace('x2', '')


@pytest.mark.browser
def test_the_answer_is_on_the_first_screen_and_the_plot_fits(tmp_path):
    write(tmp_path, results())
    with chromium(tmp_path / 'downloads') as driver:
        for width, height in ((1400, 900), (390, 844)):
            resize(driver, width, height, mobile=width == 390)
            driver.get((tmp_path / 'page.html').as_uri())
            assert driver.execute_script('return document.documentElement.scrollWidth') <= width
            headline, *charts = driver.find_elements(By.CSS_SELECTOR, '#sweep .headline, #sweep .chart > svg')
            assert headline.rect['y'] + headline.rect['height'] < height and len(charts) == 2
            assert all(0 <= chart.rect['x'] and chart.rect['x'] + chart.rect['width'] <= width for chart in charts)
            if width == 1400:  # beside the answer
                assert all(chart.rect['y'] + chart.rect['height'] < height for chart in charts)
            assert all(chart.get_attribute('aria-label') for chart in charts)
        assert console(driver) == []
