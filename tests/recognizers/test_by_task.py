"""A registered name that stands for one class a task."""
import copy
import pickle

import pytest
import torch
from torch import nn

from ra_plugin.options import OptionError
from ra_plugin.recognizers import (
    ModuleRecognizer,
    OpenClipRecognizer,
    TimmRecognizer,
    TorchvisionRecognizer,
    TransformersRecognizer,
    UltralyticsRecognizer,
)
from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.by_task import ByTask
from ra_plugin.recognizers.classification import ClassificationRecognizer
from ra_plugin.recognizers.embedding import EmbeddingRecognizer
from ra_plugin.recognizers.facts import RecognizerInfo


class Library(ByTask, Recognizer):
    """Networks of two tasks."""

    @classmethod
    def task_of(cls, name, **kwargs):
        if name not in ('classification', 'embedding'):
            raise ValueError(f'Library({name}): no such network.')
        return name

    def __init__(self, name, outputs=4):
        network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, outputs))
        super().__init__(network, RecognizerInfo(name, name))


class LibraryClassifier(Library, ClassificationRecognizer):
    pass


class LibraryEmbedder(Library, EmbeddingRecognizer):
    pass


@pytest.mark.parametrize('task, cls', [('classification', LibraryClassifier), ('embedding', LibraryEmbedder)])
def test_calling_the_registered_class_makes_an_object_of_the_task_s(task, cls):
    recognizer = Library(task, outputs=5)
    assert type(recognizer) is cls and str(recognizer) == f'Library({task})'
    images = torch.rand(2, 3, 8, 8)
    name, = recognizer.outputs(images)
    for again in (copy.deepcopy(recognizer), pickle.loads(pickle.dumps(recognizer)), cls(task)):
        assert type(again) is cls
    torch.testing.assert_close(copy.deepcopy(recognizer).outputs(images)[name], recognizer.outputs(images)[name])
    assert recognizer.outputs(images)[name].shape == (2, 5)


class Own(Library):
    """A user's class, for whatever task."""

    def __init__(self, name):
        super().__init__(name, outputs=5)

    def outputs(self, images, reference=None):
        return {name: value + 1 for name, value in super().outputs(images).items()}


class OwnEmbedder(LibraryEmbedder):
    pass


@pytest.mark.parametrize('task, cls', [('classification', LibraryClassifier), ('embedding', LibraryEmbedder)])
def test_a_class_of_a_users_own_is_of_the_task_of_its_call(task, cls):
    own, images = Own(task), torch.rand(2, 3, 8, 8)
    assert isinstance(own, Own) and isinstance(own, cls) and str(own) == f'Own({task})'
    assert type(own) is type(Own(task)) and Library._classes == {
        'classification': LibraryClassifier, 'embedding': LibraryEmbedder}
    value, = own.outputs(images).values()
    torch.testing.assert_close(value, next(iter(cls.outputs(own, images).values())) + 1)
    for again in (copy.deepcopy(own), pickle.loads(pickle.dumps(own))):
        assert type(again) is type(own)
        torch.testing.assert_close(next(iter(again.outputs(images).values())), value)


def test_a_class_of_a_users_own_may_be_of_one_task():
    own = OwnEmbedder('embedding')
    assert type(own) is OwnEmbedder and str(own) == 'OwnEmbedder(embedding)'
    assert type(pickle.loads(pickle.dumps(own))) is OwnEmbedder


def test_what_is_of_no_task_is_refused_by_its_own_words():
    with pytest.raises(ValueError, match=r'^Library\(x\): no such network'):
        Library('x')


@pytest.mark.parametrize('cls', [TransformersRecognizer, TorchvisionRecognizer, UltralyticsRecognizer, ModuleRecognizer,
                                 TimmRecognizer, OpenClipRecognizer, Library])
@pytest.mark.parametrize('args, kwargs, message', [
    ((), {}, 'missing a required argument'), (('a',), {'nonsense': 1}, "got an unexpected keyword argument 'nonsense'"),
    (('a',) * 30, {}, 'too many positional arguments')])
def test_arguments_that_do_not_fit_are_refused_in_the_name_of_the_class(cls, args, kwargs, message):
    with pytest.raises(TypeError, match=f'^{cls.__name__}: {message}') as error:
        cls(*args, **kwargs)
    assert 'task_of' not in str(error.value)


@pytest.mark.parametrize('cls, key', [(TransformersRecognizer, 'model'), (TorchvisionRecognizer, 'model_name'),
                                      (UltralyticsRecognizer, 'model'), (ModuleRecognizer, 'module'),
                                      (TimmRecognizer, 'model_name'), (OpenClipRecognizer, 'model')])
def test_arguments_are_checked_before_the_task_is_looked_for(cls, key):
    for args, kwargs in (((5,), {}), ((), {key: 5})):
        with pytest.raises(OptionError, match=f'^{cls.__name__}: {key}: expected .*, got 5'):
            cls(*args, **kwargs)


class Counting(Library):
    """A class of a user's own without a constructor of its own."""


def test_the_task_is_told_the_arguments_by_name():
    class Told(ByTask, Recognizer):
        @classmethod
        def task_of(cls, **arguments):
            raise ValueError(str(arguments))

        def __init__(self, name, count=3, *, key=None):
            raise AssertionError

    with pytest.raises(ValueError, match=r"^{'name': 'a', 'count': 4, 'key': 'b'}$"):
        Told('a', 4, key='b')
    with pytest.raises(TypeError, match='^Counting: missing'):
        Counting()
