"""The microphone and the camera of a Chromium under test: files that it opens anew with every call."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from av import VideoFrame
from PIL import Image

from tests.caller import MIC_RATE, Pcm
from tests.e2e.scenes import RED, plain
from tests.e2e.sounds import in_a_room


class Devices:
    """What the next call hears and sees. `folder` keeps the files."""

    def __init__(self, folder: Path) -> None:
        self._microphone = folder / "microphone.wav"
        self._camera = folder / "camera.y4m"
        self.listen_to()
        self.look_at(plain(RED))

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
        """A still life, five pictures a second: what it costs to show them is not what is tested."""
        width, height = scene.size
        picture = VideoFrame.from_ndarray(np.asarray(scene), "rgb24").reformat(format="yuv420p").to_ndarray()
        header = f"YUV4MPEG2 W{width} H{height} F5:1 Ip A0:0 C420jpeg\n".encode()
        self._camera.write_bytes(header + 2 * (b"FRAME\n" + picture.tobytes()))
