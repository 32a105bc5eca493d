import pytest

pytest.register_assert_rewrite("tests.model_server.conformance", "tests.model_server.socket_conformance")
