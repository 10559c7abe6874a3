"""Registered names that stand for one class a task, since the networks of a library are for several tasks."""
from typing import Any, TypeVar

Made = TypeVar('Made', bound='ByTask')


class ByTask:
    """Mixin of a recognizer class that is called by its users, and makes an object of its subclass for the task.

    The class that derives from it directly is the one that is registered, and its signature the one that options are
    checked against; it implements `task_of`. Its subclasses, one for each task, derive from the task's class, too::

        class LibraryRecognizer(ByTask, Recognizer): ...
        class LibraryDetector(LibraryRecognizer, DetectionRecognizer): ...
    """

    _classes: dict[str, type]  # of the registered class: its subclasses by task
    _registered: type  # the class that users call

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if ByTask in cls.__bases__:
            cls._classes, cls._registered = {}, cls
        elif cls._registered in cls.__bases__:
            task = next(base.task for base in cls.__mro__ if isinstance(vars(base).get('task'), str))
            cls._classes[task] = cls

    def __new__(cls: type[Made], *args: Any, **kwargs: Any) -> Made:
        if cls is cls._registered:
            return object.__new__(cls._classes[cls.task_of(*args, **kwargs)])
        return object.__new__(cls)

    @classmethod
    def task_of(cls, *args: Any, **kwargs: Any) -> str:
        """Return the task of the network that the constructor's arguments describe.

        Raises:
            ValueError: They describe no network of any task.
        """
        raise NotImplementedError(f'{cls.__name__} has no task_of().')

    @classmethod
    def users_name(cls) -> str:
        return cls._registered.__name__

    def __str__(self) -> str:
        return f'{self.users_name()}({self.info.name})'  # type: ignore[attr-defined]  # a recognizer's
