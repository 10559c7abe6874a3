"""Registered names that stand for one class a task, since the networks of a library are for several tasks."""
import functools
import types
from typing import Any, TypeVar

from ra_plugin.checked_arguments import checked_arguments

Made = TypeVar('Made', bound='ByTask')


class ByTask:
    """Mixin of a recognizer class that is called by its users, and makes an object of its subclass for the task.

    The class that derives from it directly is the one that is registered, and its signature the one that options are
    checked against; it implements `task_of`. Its subclasses, one for each task, derive from the task's class, too::

        class LibraryRecognizer(ByTask, Recognizer): ...
        class LibraryDetector(LibraryRecognizer, DetectionRecognizer): ...

    A class of a user's own may derive from one of these, or from the registered one: then it is joined with the class
    of the task when it is called.
    """

    _classes: dict[str, type]  # of the registered class: its subclasses by task
    _registered: type
    _called: type  # the class that users call

    def __init_subclass__(cls, is_joined: bool = False, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if ByTask in cls.__bases__:
            cls._classes, cls._registered, cls._called = {}, cls, cls
            return
        task = next((base.task for base in cls.__mro__ if isinstance(vars(base).get('task'), str)), None)
        if cls._registered in cls.__bases__ and task and task not in cls._classes:
            cls._classes[task] = cls
        elif not is_joined:
            cls._called = cls

    def __new__(cls: type[Made], *args: Any, **kwargs: Any) -> Made:
        if issubclass(cls, tuple(cls._classes.values())):
            return object.__new__(cls)
        if cls.__init__ is cls._registered.__init__:
            args, kwargs = (), checked_arguments(cls, args, kwargs)
        return object.__new__(_joined(cls, cls.task_of(*args, **kwargs)))

    def __reduce_ex__(self, protocol: Any) -> Any:
        made: Any = super().__reduce_ex__(protocol)
        cls: Any = type(self)
        if not vars(cls).get('is_joined'):
            return made
        return _blank, (cls._called, cls.task), *made[2:]  # it has no name to be found by

    @classmethod
    def task_of(cls, *args: Any, **kwargs: Any) -> str:
        """Return the task of the network that the constructor's arguments describe.

        They come checked and by name; those of a class of a user's own with another constructor as in its call.

        Raises:
            ValueError: They describe no network of any task.
        """
        raise NotImplementedError(f'{cls.__name__} has no task_of().')

    @classmethod
    def users_name(cls) -> str:
        return cls._called.__name__

    def __str__(self) -> str:
        return f'{self.users_name()}({self.info.name})'  # type: ignore[attr-defined]  # a recognizer's


@functools.cache
def _joined(cls: Any, task: str) -> Any:
    """Return the subclass of the registered class for a task; of a user's own class one that is joined with it."""
    of_task = cls._classes[task]
    if cls is cls._registered:
        return of_task
    names = {'is_joined': True, '__module__': cls.__module__}
    return types.new_class(cls.__name__, (cls, of_task), {'is_joined': True}, lambda own: own.update(names))


def _blank(cls: Any, task: str) -> Any:
    """Return an object of a user's class for a task, which is filled by what restores it."""
    return object.__new__(_joined(cls, task))
