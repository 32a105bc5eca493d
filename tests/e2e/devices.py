"""The microphone and the camera of a Chromium under test: files that it opens anew with every call."""

from __future__ import annotations

import io
import wave
from pathlib import Path

from PIL import Image

from tests.caller import MIC_RATE, Pcm
from tests.e2e.sounds import in_a_room


class Devices:
    """What the next call hears and sees. `folder` keeps the files."""

    def __init__(self, folder: Path) -> None:
        self._microphone = folder / "microphone.wav"
        self._camera = folder / "camera.mjpeg"
        self.listen_to()
        self.look_at(Image.new("RGB", (640, 360), (220, 20, 20)))

    @property
    def arguments(self) -> list[str]:
        """For Chromium's command line."""
        return [
            f"--use-file-for-fake-audio-capture={self._microphone}%noloop",
            f"--use-file-for-fake-video-capture={self._camera}",
        ]

    def listen_to(self, *parts: Pcm | float) -> None:
        """Sounds (48 kHz) and pauses (seconds), one after another in a quiet room, from the moment of the click."""
        with wave.open(str(self._microphone), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(MIC_RATE)
            file.writeframes(in_a_room(*parts).astype("<i2").tobytes())

    def look_at(self, scene: Image.Image) -> None:
        """A still life."""
        jpeg = io.BytesIO()
        scene.save(jpeg, "JPEG", quality=92)
        self._camera.write_bytes(jpeg.getvalue() * 2)
