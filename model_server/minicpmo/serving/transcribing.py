"""What the person said in a turn, as text for the captions: work of its own that others never wait for.

It is asked of a session beside the call's, which begins with the task's prompt and is thrown away afterwards; the
call's own context never sees it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np
import structlog

from model_server.minicpmo.inputs.mel import MAX_SAMPLES, split_clip
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.replies.segment import Piece
from model_server.minicpmo.scheduling.batcher import Running
from model_server.minicpmo.serving.device_thread import DeviceThread
from model_server.minicpmo.serving.item_content import samples_of
from model_server.minicpmo.serving.system_prompt import Openings
from model_server.minicpmo.words.prompts import Clip, Language

LIKELIEST = TextSampling(do_sample=False, max_new_tokens=160)
"""Of 30 s of speech."""

PATIENCE_S = 3_600.0
"""It is due so late that everything else comes first."""

MOST_SOUND = 2 * MAX_SAMPLES
"""Of a longer turn only the end is transcribed."""

END_WAIT_S = 2.0
"""So long the end of a reply waits for what the person had said before it, where nothing else is said."""

_log = structlog.get_logger(__name__)


class Transcript:
    """Of one turn, while its reply is made. `take` it once it is there; `aclose` it in any case."""

    def __init__(self, openings: Openings, device: DeviceThread, sounds: Sequence[bytes], language: Language) -> None:
        """`sounds`: the turn's seconds, PCM16."""
        self._openings, self._device = openings, device
        self._language: Language = language
        self._due = time.monotonic() + PATIENCE_S
        self._task: asyncio.Task[str] | None = None
        if sounds:
            self._task = asyncio.create_task(self._text(sounds), name="transcript")

    def take(self) -> str:
        """The text, once; empty while it is not there, and when there is none."""
        task = self._task
        if task is None or not task.done():
            return ""
        self._task = None
        if task.cancelled() or task.exception() is not None:
            _log.warning("not_transcribed", error=type(task.exception()).__name__)
            return ""
        return task.result()

    async def last(self, wait_s: float) -> str:
        """As `take`, after a wait of at most so long."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=wait_s)
        return self.take()

    async def aclose(self) -> None:
        """Give it up if it is not done."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _text(self, sounds: Sequence[bytes]) -> str:
        clip = samples_of(b"".join(sounds))[-MOST_SOUND:]
        parts = [await self._piece(np.asarray(part, np.float32)) for part in split_clip(clip)]
        return " ".join(part for part in parts if part)

    async def _piece(self, clip: Clip) -> str:
        session = await self._device.run(lambda: self._openings.transcription(self._language), self._due)
        message = await asyncio.to_thread(session.prepare, "user", [clip])
        await self._device.complete(session.write_steps(message), self._due)
        running: Running[Piece] = Running(session.reply_steps(LIKELIEST, speak=False))
        text = ""
        try:
            while (piece := await self._device.pull(running, self._due)) is not None:
                text += piece.text
        finally:
            await self._device.run(running.close, 0.0)
        return text.strip()
