"""Distinction between the code of BasicSR and this package, and a user's own code, which is not changed."""

_PACKAGES = ('basicsr.', 'ra_plugin.')


def is_stock(model: type, name: str) -> bool:
    """Return True if a method of a model comes only from BasicSR and this package, not from a user's class."""
    return all(base.__module__.startswith(_PACKAGES) for base in model.__mro__ if name in vars(base))


def is_all_stock(model: type) -> bool:
    """Return True if all bases of a model class are from BasicSR or this package."""
    return all(base.__module__.startswith(_PACKAGES) for base in model.__mro__ if base is not object)


def owner_of(model: type, name: str) -> type:
    """Return the class that defines a method, ignoring classes of this package; ``object`` if there is none."""
    return next((base for base in model.__mro__ if name in vars(base)
                 and not base.__module__.startswith('ra_plugin.')), object)
