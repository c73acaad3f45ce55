"""How hard Hypothesis tries: as it does by itself (`default`, or `ci` where CI is set), or for a night.

`pytest --hypothesis-profile=nightly`; the store contract and its state machine follow the profile.
"""

from hypothesis import settings

settings.register_profile("nightly", max_examples=2_000, deadline=None, print_blob=True)
