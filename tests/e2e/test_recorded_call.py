"""A call of the whole service, written down because the operator wants that, goes again as it went."""

from __future__ import annotations

from pathlib import Path

import pytest

from realtime.replay.__main__ import main
from tests.caller import calling
from tests.e2e.sounds import spoken
from tests.service import running_service


async def test_a_recorded_call_replays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "calls"
    async with running_service("--engine", "echo", "--record-events", str(folder)) as service:
        async with calling(service.url, mic=spoken("how long was that"), extensions=("ping",)) as caller:
            assert caller.of("session.created")[0]["session"]["recording"] is True
            await caller.wait_event("output_audio_buffer.stopped")
            caller.type_in("and this")
            await caller.wait(lambda: len(caller.of("output_audio_buffer.stopped")) > 1, "second answer")
        await service.until_free()
    (log,) = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, log.stat().st_mode & 0o777) == (0o700, 0o600)
    assert main([str(log), "--decisions"]) == 0
    said = capsys.readouterr().out
    assert "the same" in said
    assert said.count("thinking -> speaking") == 2
