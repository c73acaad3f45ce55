"""How hard Hypothesis tries: half as often as by itself for every commit, or for a night.

How long an example takes says nothing on a busy machine: what is slow shows in the benchmarks.

`pytest --hypothesis-profile=nightly`; the store contract and its state machine follow the profile.
"""

from hypothesis import settings

settings.register_profile("commit", settings(), max_examples=50, deadline=None)
settings.register_profile("nightly", max_examples=2_000, deadline=None, print_blob=True)
settings.load_profile("commit")
