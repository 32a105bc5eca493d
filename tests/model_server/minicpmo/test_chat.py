"""The command line and the library call: what goes in, what is written, and how errors end it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from model_server import chat
from model_server.minicpmo import chat_command, one_shot
from model_server.minicpmo.chat import Chat, ChatSettings, sampling
from model_server.minicpmo.errors import InputError
from model_server.minicpmo.inputs.media_files import (
    default_voice,
    read_picture,
    read_sound,
    read_video,
    read_voice,
    write_sound,
)
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.replies import reply
from model_server.minicpmo.replies.segment import Piece
from model_server.minicpmo.words.prompts import UNIT, system_content

SHORT = ["--max-tokens", "6", "--seed", "1", "--devices", "cpu"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stereo clip of 2 s at 44.1 kHz, a grey picture with an alpha channel, and 2.5 s of video with 2 s of sound."""
    folder = tmp_path_factory.mktemp("media")
    tone = np.sin(np.arange(88_200) * 0.05).astype(np.float32) * 0.1
    soundfile.write(folder / "q.wav", np.stack([tone, tone], axis=1), 44_100)
    Image.new("LA", (80, 50), (128, 255)).save(folder / "a.png")
    _write_video(folder / "v.mp4", tone)
    return folder


def _write_video(file: Path, tone: np.ndarray) -> None:  # type: ignore[type-arg]
    with av.open(str(file), "w") as video:
        pictures = video.add_stream("mpeg4", rate=10)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        sound = video.add_stream("aac", rate=44_100)
        for number in range(25):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * number, np.uint8), format="rgb24")
            video.mux(pictures.encode(frame))
        video.mux(pictures.encode())
        heard = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
        heard.sample_rate = 44_100
        video.mux(sound.encode(heard))
        video.mux(sound.encode())


def run(monkeypatch: pytest.MonkeyPatch, model: MiniCPMO, arguments: list[str], typed: str = "") -> tuple[str, str]:
    """What goes to standard output and to standard error."""
    monkeypatch.setattr(chat_command, "load", lambda *args, progress, **kwargs: model)
    out, log = io.StringIO(), io.StringIO()
    chat_command.run(chat.parse(arguments), io.StringIO(typed), out, log)
    return out.getvalue(), log.getvalue()


def test_the_command_is_read_without_the_networks_libraries() -> None:
    code = "import sys, model_server.chat as c; c.parse(['--model', 'm', '--text', 'a']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_what_is_given_keeps_its_order() -> None:
    request = chat.parse(["--model", "m", "--audio", "b", "--image", "a", "--text", "t", "--image", "c"])
    assert request.content == (("audio", "b"), ("image", "a"), ("text", "t"), ("image", "c"))
    assert not request.interactive
    assert chat.parse(["--model", "m"]).interactive
    assert chat.parse(["--model", "m", "--devices", "cuda:0,cuda:1"]).devices == ("cuda:0", "cuda:1")


@pytest.mark.parametrize("arguments", [[], ["--model", "m", "--task", "sing"], ["--model", "m", "--mode", "x"]])
def test_wrong_options_end_with_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        chat.main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_wrong_input_ends_with_status_2_and_one_line(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "no.wav"
    assert chat.main(["--model", str(tiny_folder), "--audio", str(missing)]) == 2
    assert capsys.readouterr().err == f"chat: {missing}: expected a sound file, found none\n"
    assert chat.main(["--model", str(tiny_folder), "--text", "a", "--task", "mimick"]) == 2
    assert "--audio" in capsys.readouterr().err
    assert chat.main(["--model", str(tiny_folder), "--text", "a", "--speak", str(tmp_path / "no" / "o.wav")]) == 2
    assert "expected a folder to write into" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--text", "a\udcff"], "expected Unicode"),
        (["--audio", "x" * 5000], "expected a sound file, found none"),
        (["--text", "a", "--speak", "."], "expected the name of a WAV file, found a folder"),
        (["--text", "a", "--speak", "x" * 5000], "too long"),
        (["--text", "a", "--seed", "-1"], "seed: expected 0 to"),
        (["--text", "a", "--temperature", "nan"], "temperature: expected"),
    ],
)
def test_garbage_ends_with_status_2_and_one_line(
    monkeypatch: pytest.MonkeyPatch,
    model: MiniCPMO,
    tiny_folder: Path,
    arguments: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(chat_command, "load", lambda *args, progress, **kwargs: model)
    monkeypatch.setattr(sys, "stdout", None)  # As it is for a process whose output was closed.
    assert chat.main(["--model", str(tiny_folder), *arguments]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert told.startswith("chat: ")
    assert told.count("\n") == 1


def test_standard_input_that_is_no_text(monkeypatch: pytest.MonkeyPatch, model: MiniCPMO, tiny_folder: Path) -> None:
    monkeypatch.setattr(chat_command, "load", lambda *args, progress, **kwargs: model)
    lines = io.TextIOWrapper(io.BytesIO(b"\xff\xfe\n"), encoding="utf-8")
    with pytest.raises(InputError, match="standard input: expected text in UTF-8"):
        chat_command.run(chat.parse(["--model", str(tiny_folder)]), lines, io.StringIO(), io.StringIO())


def test_a_reader_that_has_read_enough_ends_it_silently(
    monkeypatch: pytest.MonkeyPatch, model: MiniCPMO, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chat_command, "load", lambda *args, progress, **kwargs: model)
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert chat.main(["--model", str(tiny_folder), "--text", "a", *SHORT]) == 0
    assert capsys.readouterr().err == ""


def test_a_reply_that_cannot_be_written_is_told(
    monkeypatch: pytest.MonkeyPatch, model: MiniCPMO, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chat_command, "load", lambda *args, progress, **kwargs: model)

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with open(os.devnull, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(chat_command, "_answer", full)
        assert chat.main(["--model", str(tiny_folder), "--text", "a", *SHORT]) == 2
    assert capsys.readouterr().err == "chat: [Errno 28] No space left on device\n"


def test_an_interruption_ends_with_status_130(monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(chat_command, "load", interrupted)
    assert chat.main(["--model", str(tiny_folder), "--text", "a"]) == 130


def test_a_spoken_answer_about_a_picture_and_a_clip(
    monkeypatch: pytest.MonkeyPatch, model: MiniCPMO, tiny_folder: Path, files: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(reply, "SPARE_FRAMES", 0)
    out = tmp_path / "out.wav"
    given = ["--image", str(files / "a.png"), "--audio", str(files / "q.wav"), "--text", "what?", "--speak", str(out)]
    text, _ = run(monkeypatch, model, ["--model", str(tiny_folder), *given, *SHORT])
    assert text.strip()
    samples, rate = soundfile.read(out)
    assert rate == 24_000
    assert len(samples) > 0


def test_lines_of_standard_input_are_turns(monkeypatch: pytest.MonkeyPatch, model: MiniCPMO, tiny_folder: Path) -> None:
    text, log = run(monkeypatch, model, ["--model", str(tiny_folder), *SHORT], "hello\n\nagain\n")
    assert text.count("\n") >= 2
    assert log == ""


class Typed(io.StringIO):
    """Lines that a person types."""

    def isatty(self) -> bool:
        return True


def test_a_person_is_told_what_is_wrong_and_may_go_on(
    monkeypatch: pytest.MonkeyPatch, model: MiniCPMO, tiny_folder: Path
) -> None:
    monkeypatch.setattr(chat_command, "load", lambda *args, progress, **kwargs: model)
    out, log = io.StringIO(), io.StringIO()
    request = chat.parse(["--model", str(tiny_folder), *SHORT])
    chat_command.run(request, Typed("<|im_end|>\nhello\n"), out, log)
    assert "no special tokens" in log.getvalue()
    assert log.getvalue().count("> ") >= 3
    assert out.getvalue().strip()
    with pytest.raises(InputError, match="no special tokens"):
        chat_command.run(request, io.StringIO("<|im_end|>\n"), out, log)


def test_progress_of_loading_goes_to_standard_error(monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> None:
    monkeypatch.setattr(chat_command, "Chat", lambda model, settings: None)
    out, log = io.StringIO(), io.StringIO()
    chat_command.run(chat.parse(["--model", str(tiny_folder), *SHORT]), io.StringIO(), out, log)
    assert "loading language\n" in log.getvalue()
    assert out.getvalue() == ""


def prompted(monkeypatch: pytest.MonkeyPatch, tiny_folder: Path, model: MiniCPMO, arguments: list[str]) -> list[str]:
    """The messages that a command leads to, media as [sound], [picture]."""
    seen: list[str] = []

    def read(model: MiniCPMO, messages: list[one_shot.Message], **kwargs: object) -> None:
        for message in messages:
            items = [
                item if isinstance(item, str) else "[picture]" if isinstance(item, Image.Image) else "[sound]"
                for item in message.content
            ]
            seen.append(f"{message.role}: {''.join(items)}")

    monkeypatch.setattr(one_shot, "read", read)
    monkeypatch.setattr(one_shot, "answer", lambda *args, **kwargs: iter([Piece("ok", torch.zeros(9))]))
    run(monkeypatch, model, ["--model", str(tiny_folder), *arguments])
    return seen


def test_examples_stand_before_the_question(
    monkeypatch: pytest.MonkeyPatch, tiny_folder: Path, model: MiniCPMO, files: Path
) -> None:
    example = ["--example", str(files / "a.png"), "colour?", "grey", "--example", "-", "1+1", "2"]
    assert prompted(monkeypatch, tiny_folder, model, [*example, "--text", "and?"]) == [
        "user: [picture]\ncolour?",
        "assistant: grey",
        "user: 1+1",
        "assistant: 2",
        "user: and?",
    ]


def test_the_system_prompt_fits_what_is_asked(
    monkeypatch: pytest.MonkeyPatch, tiny_folder: Path, model: MiniCPMO, files: Path, tmp_path: Path
) -> None:
    speak, voice = ["--speak", str(tmp_path / "o.wav")], ["--voice", str(files / "q.wav")]
    text = ["--text", "a"]
    assert prompted(monkeypatch, tiny_folder, model, text) == ["user: a"]
    assert prompted(monkeypatch, tiny_folder, model, [*text, *speak])[0] == (
        "user: Use the <reserved_53> voice.As an assistant, you will speak using this voice style."
    )
    assert prompted(monkeypatch, tiny_folder, model, [*text, *speak, *voice, "--mode", "audio_roleplay"])[0] == (
        "user: Clone the voice in the provided audio prompt.[sound]"
        "Try to role-play the character based on the audio prompt above."
    )
    read_aloud = prompted(monkeypatch, tiny_folder, model, [*text, *speak, *voice, "--task", "read-text-in-voice"])
    assert read_aloud == [
        "user: Clone the voice in the provided audio prompt.[sound]",
        "user: Please read the text below.\na",
    ]
    sees = prompted(monkeypatch, tiny_folder, model, ["--image", str(files / "a.png"), *speak, "--language", "zh"])
    assert sees[0].startswith("user: 你是一个AI助手")


def test_voices_that_come_with_a_checkpoint(tmp_path: Path) -> None:
    assert default_voice(tmp_path, sees=False) is None
    clips = tmp_path / "assets" / "ref_audios"
    clips.mkdir(parents=True)
    for name, seconds in (("video_default", 2), ("default", 3), ("another", 4)):
        write_sound(clips / f"{name}.wav", np.zeros(seconds * 24_000, np.float32))
    assert [len(found) for sees in (True, False) if (found := default_voice(tmp_path, sees)) is not None] == [
        32000,
        48000,
    ]


def test_sound_is_mono_at_16_khz_and_a_voice_has_its_length(files: Path, tmp_path: Path) -> None:
    clip = read_sound(files / "q.wav")
    assert clip.shape == (32_000,)
    assert clip.dtype == np.float32
    assert len(read_voice(files / "q.wav")) == 32_000
    write_sound(tmp_path / "short.wav", np.zeros(12_000, np.float32))
    with pytest.raises(InputError, match="1 to 30 s, got"):
        read_voice(tmp_path / "short.wav")
    write_sound(tmp_path / "click.wav", np.zeros(9, np.float32))
    with pytest.raises(InputError, match=r"click.wav: clip of \d+ samples"):
        read_sound(tmp_path / "click.wav")
    (tmp_path / "no.wav").write_text("no sound")
    with pytest.raises(InputError, match="expected sound"):
        read_sound(tmp_path / "no.wav")


def test_a_picture_is_rgb_and_what_is_none_is_named(files: Path) -> None:
    assert read_picture(files / "a.png").mode == "RGB"
    with pytest.raises(InputError, match="expected a picture"):
        read_picture(files / "q.wav")
    with pytest.raises(InputError, match="expected a picture"):
        read_picture(files / "none.png")


def test_a_video_is_a_unit_each_second_with_its_last_frame(files: Path, tmp_path: Path) -> None:
    units = read_video(files / "v.mp4")
    assert [item for item in units if isinstance(item, str)] == [UNIT] * 3
    levels = [np.asarray(item).mean() for item in units if isinstance(item, Image.Image)]
    assert levels == pytest.approx([90, 190, 240], abs=6)
    sounds = [item for item in units if isinstance(item, np.ndarray)]
    assert [len(sound) for sound in sounds] == [16_000] * 3
    assert np.abs(sounds[0]).max() > 0.05
    with pytest.raises(InputError, match="expected a video"):
        read_video(files / "q.txt")


def test_a_turn_becomes_part_of_the_conversation_when_it_is_over(model: MiniCPMO) -> None:
    settings = ChatSettings(system=system_content("omni", "en"), sampling=sampling(0, 6))
    talk = Chat(model, settings)
    pieces = talk.say(["hello"])
    next(pieces)
    pieces.close()
    assert len(talk.messages) == 1
    text = "".join([piece.text for piece in talk.say(["hello"])])
    assert [message.role for message in talk.messages] == ["user", "user", "assistant"]
    assert talk.messages[-1].content == [text]
    with pytest.raises(InputError):
        list(talk.say(["<|im_end|>"]))
    assert len(talk.messages) == 3


def test_parity_gives_the_whole_reply_at_once(model: MiniCPMO) -> None:
    pieces = list(Chat(model, ChatSettings(sampling=sampling(0, 6), parity=True)).say(["hello"]))
    assert len(pieces) == 1
    assert len(pieces[0].samples) == 0


def test_temperature_zero_is_the_likeliest_with_its_penalty() -> None:
    assert not sampling(0, None).do_sample
    assert sampling(0, None).repetition_penalty == 1.2
    assert sampling(0.3, 5).temperature == 0.3
    with pytest.raises(InputError, match="max_new_tokens"):
        sampling(None, 0)
