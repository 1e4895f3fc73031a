"""What holds for all tests."""

from hypothesis import settings

# A busy machine takes far longer for an example than a quiet one: time proves nothing, and a test that
# fails for it is noise. What must be quick is counted, not timed.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
