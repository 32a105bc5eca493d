"""What every engine must do, at the level of `EngineSession`.

A test module subclasses `EngineConformance` and sets `case`; `tests/model_server/socket_conformance.py` asks the same
engines through the session socket.
"""

from __future__ import annotations

from tests.model_server.conformance_cancelling import CancellingRules
from tests.model_server.conformance_crowd import CrowdRules
from tests.model_server.conformance_marks import MarkRules
from tests.model_server.conformance_replies import ReplyRules
from tests.model_server.conformance_talk import EngineCase, text_of
from tests.model_server.conformance_writing import WritingRules

__all__ = ["EngineCase", "EngineConformance", "text_of"]


class EngineConformance(ReplyRules, WritingRules, MarkRules, CancellingRules, CrowdRules):
    """All rules; `case` says for which engine."""
