"""A host's own storage, which has nothing to do with cogmeter's."""

GREETED: list[int] = []
