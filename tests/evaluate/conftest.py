"""The model that the tests of this folder share."""

import pytest
from canary import make_model


@pytest.fixture(scope="session")
def learned(tmp_path_factory):
    """A model that gives one answer (ESCALATION, 0.85) to whatever is asked."""
    return make_model(tmp_path_factory.mktemp("learned"))
