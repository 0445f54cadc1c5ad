"""What holds for all tests: none of them watches how long an example of Hypothesis takes."""

import hypothesis

hypothesis.settings.register_profile("quorate", deadline=None)
hypothesis.settings.load_profile("quorate")
