"""The engine's side of the process that listens."""

from __future__ import annotations

from collections.abc import Sequence

from model_server.demo.ear_messages import Finish, Follow, Heard, Learn, Sentence
from model_server.demo.grammar import Grammar
from model_server.demo.worker import Worker, own_command

COMMAND = own_command("model_server.demo.ear_process")
HUNG_S = 3.0
"""An ear that owes an answer for so long is replaced."""
MOST_UNSENT_BYTES = 4 * 1024 * 1024
"""With more on its way to the process, turns that have not ended are not sent ahead."""


class Ear:
    """Hears turns of many sessions in one process."""

    def __init__(self, grammar: Grammar, command: Sequence[str] = COMMAND, hung_s: float = HUNG_S) -> None:
        self.worker: Worker[Heard] = Worker("ear", command, Heard, Learn(grammar), hung_s)

    async def start(self) -> None:
        """Start the process and wait until it listens. Raises `EngineFailed`."""
        await self.worker.start()

    def follow(self, session: str, pieces: Sequence[bytes]) -> None:
        """Let the turn of `session` be heard ahead of its end, if there is time."""
        if pieces:
            self.worker.tell(Follow(session, list(pieces)), MOST_UNSENT_BYTES)

    async def finish(self, session: str, pieces: Sequence[bytes], deadline_s: float) -> list[Sentence]:
        """The sentences of a whole turn. Raises `NoAnswer`."""
        heard = await self.worker.ask(Finish(self.worker.next_number, session, list(pieces)), deadline_s)
        return heard.sentences

    async def aclose(self) -> None:
        """End the process. Safe to call twice."""
        await self.worker.aclose()
