"""The process that speaks: `python -m model_server.demo.voice_process`, spoken to over stdin and stdout.

espeak-ng carries state from one sentence to the next (the phase of its waves, the flutter of its pitch), so that the
same sentence sounds a little different each time. Each sentence is therefore spoken in a fork of the process as it was
when it had just started: the same text gives the same samples, always, and a crash costs one sentence.
"""

from __future__ import annotations

import os
import sys
from typing import BinaryIO

from model_server.demo.espeak import Espeak, VoiceError
from model_server.demo.pipe import Ready, frame, read_frame
from model_server.demo.voice_messages import Speak, Spoken, Warm, to_voice


def main() -> None:
    """Load the voice, say so, then speak."""
    warm = read_frame(sys.stdin.buffer, to_voice)
    if not isinstance(warm, Warm):
        sys.exit("this process is started by the demo engine, which tells it how to speak")
    try:
        voice = Espeak(warm.manner)
    except VoiceError as error:
        sys.exit(str(error))
    out = sys.stdout.buffer
    _send(out, Ready())
    while isinstance(question := read_frame(sys.stdin.buffer, to_voice), Speak):
        if not _in_a_fork(voice, question, out):
            _send(out, Spoken(question.number, voice.rate, b"", [], failed=True))


def _in_a_fork(voice: Espeak, question: Speak, out: BinaryIO) -> bool:
    """Speak `question`; False where that failed and nothing was sent."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _send(out, voice.speak(question))
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return status == 0


def _send(out: BinaryIO, message: Ready | Spoken) -> None:
    out.write(frame(message))
    out.flush()


if __name__ == "__main__":
    main()
