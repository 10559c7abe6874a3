"""Code of a model class that is BasicSR's, or this package's around it, and a user's own, which is left to itself."""

_PACKAGES = ('basicsr.', 'ra_plugin.')


def is_stock(model: type, name: str) -> bool:
    """Return whether a method of a model is BasicSR's, or this package's around it, and not a user's own."""
    return all(base.__module__.startswith(_PACKAGES) for base in model.__mro__ if name in vars(base))


def is_all_stock(model: type) -> bool:
    """Return whether nothing in a model class is a user's own."""
    return all(base.__module__.startswith(_PACKAGES) for base in model.__mro__ if base is not object)


def owner_of(model: type, name: str) -> type:
    """Return the class that a method is from, but for what this package puts around it; ``object`` where none is."""
    return next((base for base in model.__mro__ if name in vars(base)
                 and not base.__module__.startswith('ra_plugin.')), object)
