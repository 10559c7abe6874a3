"""A black box is asked once an image, patiently and within its budget; what it says is another program's word."""
import email.utils
import hashlib
import io
import json
import math
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from PIL import Image

from ra_plugin import RecogLoss
from ra_plugin.recognizers import BlackBoxRecognizer, build_recognizer
from ra_plugin.recognizers.blackbox import client as blackbox_client
from ra_plugin.recognizers.blackbox import source as blackbox_source
from ra_plugin.recognizers.blackbox.answer_format import read_answer

CLASSES = ['cat', 'dog', 'sea lion']
CAT = b'{"labels": [{"label": "Cat", "score": 0.9}, {"label": "tabby", "score": 0.1}]}'


class Cloud:
    """A server on the loopback: takes the next of ``replies`` for each request, the last one for all further ones.

    A reply is a body, or ``(status, headers, body)``; a function of the image gives one of them.
    """

    def __init__(self):
        self.replies, self.requests, self.release = [CAT], [], threading.Event()
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers['Content-Length']))
                cloud.requests.append((dict(self.headers), body))
                reply = cloud.replies.pop(0) if len(cloud.replies) > 1 else cloud.replies[0]
                reply = reply(body) if callable(reply) else reply
                status, headers, content = reply if isinstance(reply, tuple) else (200, {}, reply)
                self.send_response(status)
                for name, value in {'Content-Length': str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server.server_port}/v1/judge'

    def hang(self, body):
        self.release.wait(10)
        return CAT


@pytest.fixture
def cloud(monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    cloud = Cloud()
    thread = threading.Thread(target=cloud.server.serve_forever, kwargs={'poll_interval': 0.01})
    thread.start()
    yield cloud
    cloud.release.set()
    cloud.server.shutdown()
    cloud.server.server_close()
    thread.join(10)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Time as the client sees it: sleeping takes none, and is written down."""

    class Clock:
        now, slept = 0.0, []

        @classmethod
        def sleep(cls, seconds):
            cls.slept.append(seconds)
            cls.now += seconds

        @classmethod
        def monotonic(cls):
            return cls.now

    monkeypatch.setattr(blackbox_client, 'time', Clock)
    return Clock


@pytest.fixture
def black_box(cloud, tmp_path):
    """``black_box(**options)``: at the cloud, with a cache that all of a test share."""
    return lambda **options: BlackBoxRecognizer(**{
        'classes': CLASSES, 'cache': str(tmp_path / 'cache'), 'url': cloud.url, **options})


@pytest.fixture
def photos():
    return torch.rand(3, 3, 6, 5)


def waits(clock):
    return [seconds for seconds in clock.slept if seconds]


def script(tmp_path, code):
    path = tmp_path / 'judge.py'
    path.write_text(code)
    return [sys.executable, str(path), '{image}']


# What it is shown and what it says

def test_the_image_arrives_as_the_png_that_would_be_saved(cloud, black_box, photos):
    photos[0, :, 0, 0] = torch.tensor([-0.2, 1.3, 0.5])
    black_box().answers(photos[:1])
    headers, body = cloud.requests[0]
    expected = np.rint(photos[0].double().clip(0, 1).permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    assert headers['Content-Type'] == 'image/png'
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(body))), expected)


def test_each_image_gets_the_answer_on_itself(cloud, black_box, photos):
    cloud.replies = [lambda body: json.dumps([hashlib.sha256(body).hexdigest()]).encode()]
    answers = black_box().answers(photos)
    assert [answer[0][0] for answer in answers] == [hashlib.sha256(body).hexdigest() for _, body in cloud.requests]


def test_predictions_keep_the_classification_contract(cloud, black_box, photos):
    cloud.replies = [b'[{"label": " Sea  LION", "score": 2}, {"label": "dog", "score": 7}, {"label": "x", "score": 5}]',
                     b'["cat"]', b'[]']
    result = black_box().predict(photos)
    assert result['labels'].tolist() == [[1, -1, 2, -1, -1], [0] + [-1] * 4, [-1] * 5]
    assert result['scores'][0].tolist() == [7, 5, 2, 0, 0] and math.isnan(result['scores'][1, 0])
    assert result['labels'].dtype == torch.long and not result['scores'].requires_grad


@pytest.mark.parametrize('classes, label, expected', [
    (CLASSES, 'DOG', 1), (CLASSES, 'wolf', -1), (CLASSES, 2, 2), (CLASSES, 3, -1), (CLASSES, -1, -1),
    (CLASSES, '1', -1), (['crane', 'ox', 'Crane'], 'crane', 0), (10, 9, 9), (10, 10, -1), (10, '7', 7),
    (10, 'cat', -1)])
def test_labels_become_class_ids(classes, label, expected, black_box):
    assert black_box(classes=classes).class_id(label) == expected


def test_classes_are_read_from_a_text_file(black_box, tmp_path):
    (tmp_path / 'classes.txt').write_text('cat\ndog\n')
    info = black_box(classes=str(tmp_path / 'classes.txt')).info
    assert info.classes == ('cat', 'dog') and info.num_classes == 2


@pytest.mark.parametrize('content, options, expected', [
    (['a', 'b'], {}, [('a', None), ('b', None)]),
    ({'labels': [{'label': 'a', 'score': 1}, {'label': 'b', 'score': 2}]}, {}, [('b', 2.0), ('a', 1.0)]),
    ([{'label': 'a', 'score': 1}, {'label': 'b'}], {}, [('a', 1.0), ('b', None)]),
    ({'label': 3, 'score': 0.5}, {}, [(3, 0.5)]),
    ('a', {}, [('a', None)]),
    ({'r': [{}, {'tags': [{'name': 'a', 'p': 0.5}]}]}, {'path': 'r.1.tags', 'label_key': 'name', 'score_key': 'p'},
     [('a', 0.5)]),
    ({'r': [{}]}, {'path': 'r.0.tags'}, []),
    (['\ud800x'], {}, [('?x', None)]),
], ids=str)
def test_answers_are_read_wherever_the_labels_are(content, options, expected):
    assert read_answer(content, **{'path': '', 'label_key': 'label', 'score_key': 'score', **options}) == expected


@pytest.mark.parametrize('content, path, message', [
    (None, '', 'expected a label'), (True, '', 'expected a label'), ([1.5], '', 'expected a label'),
    ([['a']], '', 'expected a label'), ([{'name': 'a'}], '', "expected a label, or an object with 'label'"),
    ({'error': 'no credit'}, '', 'no credit'), (['a' * 501], '', 'expected a label'),
    ([{'label': 'a', 'score': '0.5'}], '', "expected a number for 'score'"),
    ([{'label': 'a', 'score': math.nan}], '', 'expected a number'), ([{'label': 'a', 'score': True}], '', 'a number'),
    ([{'label': 'a', 'score': 10 ** 400}], '', 'expected a number'),
    ({'r': {'x': 1}}, 'r.tags', "no 'tags' of answer: r.tags"), ({'r': ['a']}, 'r.1', "no '1' of answer"),
    ({'r': 'text'}, 'r.0', "no '0' of answer"), ([1], '-1', "no '-1' of answer")], ids=str)
def test_an_answer_without_labels_is_refused(content, path, message):
    with pytest.raises(ValueError, match=message):
        read_answer(content, path, 'label', 'score')


@pytest.mark.parametrize('body, message', [
    (b'', 'expected JSON, got nothing'), (b'<html>\x1b[2Jbusy', r'expected JSON, got <html>\\x1b\[2Jbusy'),
    (b'[' * 100_000, r'expected JSON, got \[\[\['), (b'["' + b'x' * 2 ** 20 + b'"]', 'more than 1048576 bytes'),
    (b'{"a": 1}', "expected a label, or an object with 'label'")])
def test_garbage_is_one_line_and_is_asked_for_once(body, message, cloud, black_box, photos):
    cloud.replies = [body]
    with pytest.raises(ValueError, match=message) as error:
        black_box().predict(photos[:1])
    assert '\n' not in str(error.value) and '\x1b' not in str(error.value) and len(cloud.requests) == 1


def test_a_wrong_place_in_the_answer_costs_no_second_request(cloud, black_box, photos):
    cloud.replies = [b'{"r": ["dog"]}']
    with pytest.raises(ValueError, match="no 's' of answer: s in .*Set answer to where"):
        black_box(answer='s').answers(photos[:1])
    assert black_box(answer='r').answers(photos[:1]) == [[('dog', None)]] and len(cloud.requests) == 1


# Once an image, also after a restart

def test_an_image_is_asked_about_once(cloud, black_box, photos):
    recognizer = black_box()
    first = recognizer.answers(photos.repeat(2, 1, 1, 1))
    assert black_box().answers(photos) == first[:3] == first[3:] and len(cloud.requests) == 3


def test_other_pixels_shapes_and_black_boxes_are_asked_about(cloud, black_box, photos):
    flat = torch.zeros(1, 3, 4, 6)
    for images in (photos[:1], photos[:1] + 0.01, flat, flat.view(1, 3, 6, 4)):
        black_box().answers(images)
    black_box(url=f'{cloud.url}?model=2').answers(flat)
    black_box(headers={'X-Model': '2'}).answers(flat)
    assert len(cloud.requests) == 6


def test_a_run_that_was_stopped_goes_on_with_what_is_missing(cloud, black_box, photos):
    cloud.replies = [CAT, CAT, (400, {}, b'no')]
    with pytest.raises(ValueError, match='3 requests made, 2 answers kept in .*cache: start again to go on'):
        black_box().answers(photos)
    cloud.replies = [CAT]
    assert len(black_box().answers(photos)) == 3 and len(cloud.requests) == 4


@pytest.mark.parametrize('keep', [0, 1, 40, -1, None])
def test_a_ledger_that_was_cut_off_loses_only_the_last_answer(keep, cloud, black_box, photos):
    black_box().answers(photos[:2])
    ledger = black_box().client.ledger.path
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b''.join(lines[:-1]) + (b'\xff\x00{"image": 1}\n' if keep is None else lines[-1][:keep]))
    assert len(black_box().answers(photos[:2])) == 2 and len(cloud.requests) == 3
    again = black_box()
    assert again.answers(photos[:2]) and len(again.client.ledger) == 2 and again.client.ledger.requests == 3


def test_two_processes_see_each_others_answers_and_requests(cloud, black_box, photos):
    first, second = black_box(max_requests=3), black_box(max_requests=3)
    first.answers(photos[:2])
    second.answers(photos[2:])
    with pytest.raises(ValueError, match='max_requests: all 3 requests'):
        first.answers(photos + 0.01)
    assert len(first.answers(photos)) == 3 and len(cloud.requests) == 3


# Patience

@pytest.mark.parametrize('failures, slept', [
    ([503], [1]), ([503, 500, 502], [1, 2, 4]), ([429], [1])])
def test_an_unavailable_server_is_asked_again_with_growing_pauses(failures, slept, cloud, black_box, photos, clock):
    cloud.replies = [(status, {}, b'busy') for status in failures] + [CAT]
    assert black_box().predict(photos[:1])['labels'][0, 0] == 0
    assert waits(clock) == slept and len(cloud.requests) == len(failures) + 1


@pytest.mark.parametrize('header, expected', [('7', 7), ('0.5', 1), ('soon', 1), ('-3', 1), ('nan', 1), ('', 1), (
    lambda: email.utils.formatdate(time.time() + 100, usegmt=True), pytest.approx(100, abs=5))])
def test_retry_after_is_honored(header, expected, cloud, black_box, photos, clock):
    cloud.replies = [(429, {'Retry-After': header() if callable(header) else header}, b''), CAT]
    black_box().answers(photos[:1])
    assert waits(clock) == [expected]


def test_a_server_that_wants_to_be_asked_much_later_ends_the_run(cloud, black_box, photos, clock):
    cloud.replies = [(429, {'Retry-After': '3600'}, b'')]
    with pytest.raises(ValueError, match='status 429, to be asked again in 3600 s, after 1 requests for one image'):
        black_box().answers(photos)
    assert not waits(clock)


@pytest.mark.parametrize('retries', [0, 2])
def test_retries_are_bounded(retries, cloud, black_box, photos):
    cloud.replies = [(503, {}, b'')]
    with pytest.raises(ValueError, match=f'status 503, after {retries + 1} requests for one image'):
        black_box(retries=retries).answers(photos)
    assert len(cloud.requests) == retries + 1


@pytest.mark.parametrize('status', [400, 401, 403, 404, 418])
def test_a_refusal_is_final(status, cloud, black_box, photos):
    cloud.replies = [(status, {}, b'{"error":\n "why"}')]
    with pytest.raises(ValueError, match=rf'BlackBoxRecognizer\(127.*\): status {status}: {{"error": "why"}}\. 1 req'):
        black_box().answers(photos)
    assert len(cloud.requests) == 1


@pytest.mark.slow
def test_a_server_that_hangs_is_given_up(cloud, black_box, photos):
    cloud.replies = [cloud.hang]
    with pytest.raises(ValueError, match=r'no answer \(.*timed out\), after 2 requests'):
        black_box(timeout=0.1, retries=1).answers(photos)


def test_a_connection_that_is_cut_off_is_tried_again(cloud, black_box, photos):
    cloud.replies = [(200, {'Content-Length': '999'}, CAT), CAT]
    black_box().answers(photos[:1])
    assert len(cloud.requests) == 2


def test_no_server_is_one_line(cloud, black_box, photos):
    recognizer = black_box(retries=1)
    cloud.server.server_close()
    with pytest.raises(ValueError, match=r'no answer \(.*refused.*\), after 2 requests for one image'):
        recognizer.answers(photos)


def test_requests_keep_their_distance(cloud, black_box, photos, clock):
    recognizer = black_box(requests_per_minute=30)
    recognizer.answers(photos)
    clock.now += 1.5
    recognizer.answers(photos + 0.01)
    assert waits(clock) == [2, 2, 0.5, 2, 2]
    recognizer.answers(photos)  # known: nothing to wait for
    assert len(waits(clock)) == 5


# Cost

def test_the_budget_ends_the_run_before_it_is_exceeded(cloud, black_box, photos):
    cloud.replies = [CAT, (503, {}, b''), CAT]
    with pytest.raises(ValueError, match=r'max_requests: all 3 requests are made, .* Raise it\. 3 requests made '
                                         r'\(cost: 0\.75\), 2 answers kept'):
        black_box(max_requests=3, price_per_request=0.25).answers(photos)
    assert len(cloud.requests) == 3


def test_the_budget_counts_the_requests_of_all_runs(cloud, black_box, photos):
    black_box(max_requests=2).answers(photos[:2])
    again = black_box(max_requests=2, price_per_request=0.25)
    assert again.cost == 0.5 and len(again.answers(photos[:2])) == 2
    with pytest.raises(ValueError, match='max_requests'):
        again.answers(photos)
    assert len(black_box(max_requests=3).answers(photos)) == len(cloud.requests) == 3


# Keys and addresses

def test_headers_take_their_keys_from_the_environment(cloud, black_box, photos, monkeypatch, tmp_path):
    monkeypatch.setenv('JUDGE_KEY', 's3cret')
    recognizer = black_box(headers={'Authorization': 'Bearer $JUDGE_KEY', 'X-Price': '5$$'})
    recognizer.answers(photos)
    assert cloud.requests[0][0]['Authorization'] == 'Bearer s3cret' and cloud.requests[0][0]['X-Price'] == '5$'
    assert not any(b's3cret' in path.read_bytes() for path in tmp_path.rglob('*') if path.is_file())
    assert 's3cret' not in f'{recognizer} {recognizer.info}'


def test_a_refusal_does_not_show_the_key(cloud, black_box, photos, monkeypatch):
    monkeypatch.setenv('JUDGE_KEY', 's3cret')
    cloud.replies = [(401, {}, b'bad token s3cret')]
    with pytest.raises(ValueError, match=r'status 401: bad token \*\*\*'):
        black_box(headers={'Authorization': 'Bearer $JUDGE_KEY'}).answers(photos)


@pytest.mark.parametrize('value, message', [
    ('$NO_SUCH_KEY', 'headers.X: the environment variable NO_SUCH_KEY is not set'),
    ('5 $', r"headers.X: a '\$' that names no"),
    ('$BAD_KEY', 'headers.X: expected printable ASCII'), (5, 'headers.X: expected text, got int')])
def test_a_header_that_cannot_be_sent_is_refused_at_once(value, message, black_box, monkeypatch):
    monkeypatch.setenv('BAD_KEY', 's3cret\r\nX-Evil: 1')
    with pytest.raises(ValueError, match=f'^BlackBoxRecognizer: {message}') as error:
        black_box(headers={'X': value})
    assert 's3cret' not in str(error.value)


@pytest.mark.parametrize('status', [301, 302, 303, 307, 308])
def test_redirections_are_not_followed(status, cloud, black_box, photos):
    other = Cloud()
    thread = threading.Thread(target=other.server.serve_forever, kwargs={'poll_interval': 0.01})
    thread.start()
    try:
        cloud.replies = [(status, {'Location': other.url}, b'')]
        with pytest.raises(ValueError, match=f'status {status}: it points to {other.url}, which is not followed'):
            black_box(headers={'X-Key': 'secret'}).answers(photos)
        assert not other.requests and len(cloud.requests) == 1
    finally:
        other.server.shutdown()
        other.server.server_close()
        thread.join(10)


def test_a_secret_in_the_address_is_not_shown(cloud, black_box):
    assert black_box(url=f'{cloud.url}?key=s3cret').info.source == cloud.url


@pytest.mark.parametrize('url', ['file:///etc/passwd', 'ftp://host/x', 'host/x', 'http://', 'https://me:s3cret@host/x',
                                 'http://host/a b'])
def test_an_address_of_another_kind_is_refused(url, black_box):
    with pytest.raises(ValueError, match=r'^BlackBoxRecognizer: url: expected http\(s\)://HOST') as error:
        black_box(url=url)
    assert 's3cret' not in str(error.value)


# Commands

@pytest.mark.slow
def test_a_command_is_given_the_image_and_says_labels(tmp_path):
    code = ('import json, sys\nfrom PIL import Image\nimage = Image.open(sys.argv[1])\n'
            'print(json.dumps([{"label": "dog" if image.getpixel((0, 0))[0] > 128 else "cat"}]))\n')
    options = {'type': 'BlackBoxRecognizer', 'classes': CLASSES, 'cache': str(tmp_path / 'cache'),
               'command': script(tmp_path, code)}
    images = torch.stack([torch.zeros(3, 4, 4), torch.ones(3, 4, 4)])
    assert build_recognizer(options).predict(images)['labels'][:, 0].tolist() == [0, 1]
    (tmp_path / 'judge.py').unlink()
    assert build_recognizer(options).predict(images)['labels'][:, 0].tolist() == [0, 1]  # from the cache


def test_no_shell_reads_the_command(tmp_path, photos):
    command = [*script(tmp_path, 'import json, sys\nprint(json.dumps(sys.argv[2:]))'), '$(touch x); `id`', '{image}.x']
    answer, = BlackBoxRecognizer(CLASSES, str(tmp_path), command=command).answers(photos[:1])
    assert answer[0][0] == '$(touch x); `id`' and answer[1][0].endswith('image.png.x')


@pytest.mark.slow
@pytest.mark.parametrize('code, message', [
    ('import sys\nsys.exit("first\\n\\x1b[1mwhy")', r'exit status 1: first \\x1b\[1mwhy'),
    ('import time\ntime.sleep(20)', 'no answer within 0.5 s. Set timeout'),
    ('print("x" * 2 ** 21)', 'an answer of more than 1048576 bytes'), ('print("cat")', 'expected JSON, got cat')])
def test_a_command_that_fails_is_one_line(code, message, tmp_path, photos):
    timeout = 0.5 if 'sleep' in code else 30.0
    recognizer = BlackBoxRecognizer(CLASSES, str(tmp_path), command=script(tmp_path, code), timeout=timeout, name='me')
    with pytest.raises(ValueError, match=rf'^BlackBoxRecognizer\(me\): {message}.* 1 requests made') as error:
        recognizer.answers(photos)
    assert '\n' not in str(error.value)


def test_a_program_that_does_not_exist_is_named(tmp_path, photos):
    with pytest.raises(ValueError, match=r'cannot be run \(.*no-such-program'):
        BlackBoxRecognizer(CLASSES, str(tmp_path), command=['no-such-program', '{image}']).answers(photos)


# Options and the contract

@pytest.mark.parametrize('options, message', [
    ({'url': None}, 'expected one of command and url, got neither'),
    ({'command': ['x', '{image}']}, 'expected one of command and url, got both'),
    ({'url': None, 'command': ['x', '{image}'], 'headers': {'a': 'b'}}, 'headers go with a url'),
    ({'url': None, 'command': ['x']}, "command: expected a list with a program and '{image}'"),
    ({'requests_per_minute': 0}, 'requests_per_minute: out of range: 0'), ({'timeout': 0}, 'timeout: out of range'),
    ({'retries': -1}, 'retries: out of range'), ({'max_requests': -1}, 'max_requests: out of range'),
    ({'price_per_request': -0.1}, 'price_per_request: out of range'), ({'classes': 0}, 'classes: expected 1 or more'),
    ({'classes': []}, 'classes: expected a name for each'), ({'classes': ['a', ' ']}, 'classes: expected a name'),
    ({'classes': 'none.txt'}, r'classes: no file none\.txt')], ids=str)
def test_options_that_cannot_be_meant_are_refused(options, message, black_box):
    with pytest.raises(ValueError, match=f'^BlackBoxRecognizer: {message}'):
        black_box(**options)


@pytest.mark.parametrize('call', [
    lambda r, x: r.loss(x, torch.zeros(3, dtype=torch.long)), lambda r, x: r.outputs(x), lambda r, x: r.features(x)],
    ids=['loss', 'outputs', 'features'])
def test_it_cannot_serve_as_a_loss(call, cloud, black_box, photos):
    with pytest.raises(ValueError, match=r'^BlackBoxRecognizer\(127.*\): a black box has no gradient, .* as a loss\.$'):
        call(black_box(), photos)
    assert not cloud.requests


def test_training_refuses_it_before_it_is_asked_anything(cloud, black_box):
    with pytest.raises(ValueError, match=r'^RecogLoss: BlackBoxRecognizer\(.*\) is not differentiable'):
        RecogLoss(black_box())
    assert not cloud.requests


def test_its_facts_are_those_of_a_judge(black_box):
    info = black_box(name='cloud').info
    assert (info.name, info.task, info.num_classes, info.differentiable) == ('cloud', 'classification', 3, False)
    with pytest.raises(ValueError, match=r'expected labels in 0\.\.2, got 0\.\.3'):
        black_box().check_label(torch.tensor([0, 3]), 2, 'here')


def test_the_largest_answer_is_taken(cloud, black_box, photos):
    body = b'["' + b'x' * 400 + b'"]'
    cloud.replies = [body + b' ' * (blackbox_source.MOST_BYTES - len(body))]
    assert black_box().answers(photos[:1]) == [[('x' * 400, None)]]
