import pytest

RULES = ("talk", "replies", "writing", "marks", "cancelling", "crowd")
pytest.register_assert_rewrite("tests.model_server.conformance", "tests.model_server.socket_conformance")
pytest.register_assert_rewrite(*(f"tests.model_server.conformance_{name}" for name in RULES))
