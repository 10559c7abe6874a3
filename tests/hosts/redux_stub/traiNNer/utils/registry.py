"""Stand-in of the registry: names count without case, and twice is an error."""


class Registry:
    def __init__(self):
        self.known = {}

    def register(self, obj):
        assert obj.__name__.lower() not in self.known
        self.known[obj.__name__.lower()] = obj

    def get(self, name):
        return self.known[name.lower()]

    def __contains__(self, name):
        return name.lower() in self.known


LOSS_REGISTRY = Registry()
