# SPDX-License-Identifier: Apache-2.0
"""What the tests of a host share: the harness of the end-to-end tests."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import harness  # noqa: E402,F401
