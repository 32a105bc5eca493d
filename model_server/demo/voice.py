"""The engine's side of the process that speaks."""

from __future__ import annotations

from collections.abc import Sequence

from model_server.demo.voice_messages import Manner, Speak, Spoken, Warm
from model_server.demo.worker import NoAnswer, Worker, own_command
from model_server.engine import EngineFailed

COMMAND = own_command("model_server.demo.voice_process")
DEADLINE_S = 5.0
"""A sentence takes a few hundredths of a second; a voice that owes one for so long is replaced."""


class Voice:
    """Speaks sentences of many sessions in one process, one after the other."""

    def __init__(self, manner: Manner, command: Sequence[str] = COMMAND, deadline_s: float = DEADLINE_S) -> None:
        self.worker: Worker[Spoken] = Worker("voice", command, Spoken, Warm(manner), deadline_s)
        self._deadline_s = deadline_s

    async def start(self) -> None:
        """Start the process and wait until it can speak. Raises `EngineFailed`."""
        await self.worker.start()

    async def speak(self, text: str) -> Spoken:
        """`text` in full; 3 s of speech take about 10 ms. Raises `EngineFailed`, where a new voice fails as well."""
        try:
            spoken = await self._ask(text)
        except NoAnswer:
            await self.worker.start()
            try:
                spoken = await self._ask(text)
            except NoAnswer as error:
                raise EngineFailed(str(error)) from error
        if spoken.failed:
            raise EngineFailed(f"the voice could not speak a text of {len(text)} characters")
        return spoken

    async def aclose(self) -> None:
        """End the process. Safe to call twice."""
        await self.worker.aclose()

    async def _ask(self, text: str) -> Spoken:
        plain = "".join(each if each.isprintable() else " " for each in text)  # Others may be commands to espeak-ng.
        return await self.worker.ask(Speak(self.worker.next_number, plain), 2 * self._deadline_s)
