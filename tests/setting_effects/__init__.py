"""How each setting shows: a place with an ``.env``, and functions that look at a real part which was built from it.

``await observe(place)`` returns what one value of a setting leads to; ``tests/cogmeter/settings/test_effects.py`` has
the table of settings, their values, and what is expected of each.
"""
