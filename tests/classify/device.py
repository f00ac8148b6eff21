"""Where the solver's tests compute: ``DEEPFEAT_TEST_DEVICE=cuda`` repeats them on a GPU."""

import os

DEVICE = os.environ.get("DEEPFEAT_TEST_DEVICE", "cpu")
