"""Headers and ends of messages, as published and mended."""

from __future__ import annotations

from model_server.minicpmo.words.prompts import GENERATION_PROMPT, REPLY_START
from model_server.minicpmo.words.turns import OfficialTurns, Turns, WholeTurns

USER, END, CUT = "<|im_start|>user\n", "<|im_end|>\n", "<|tts_eos|><|im_end|>\n"


def written(turns: Turns, *steps: str) -> str:
    """All that a conversation writes; `text`, `role:text`, or what happens to a reply."""
    out = ""
    for step in steps:
        if step == "reply":
            text, turns = turns.reply()
        elif step in ("ends", "ends unspoken"):
            text, turns = "", turns.finished(spoken_to_end=step == "ends")
        else:
            role, _, said = step.rpartition(":")
            text, turns = turns.prefill(role or "user", said)  # type: ignore[arg-type]
        out += text + "|"
    return out


def test_the_transcript_of_a_call_with_two_turns() -> None:
    steps = ("user:sys", "u1", "u2", "reply", "ends", "u3")
    official = f"{USER}sys{END}|{USER}u1|u2|{GENERATION_PROMPT}||{END}{USER}u3|"
    assert written(OfficialTurns(), *steps) == official
    assert written(WholeTurns(), "system:sys", *steps[1:]) == official


def test_a_reply_that_was_cut_is_closed_by_the_next_turn() -> None:
    official = f"{USER}sys{END}|{USER}u1|{GENERATION_PROMPT}|{CUT}{USER}u2|"
    assert written(OfficialTurns(), "user:sys", "u1", "reply", "u2") == official
    assert written(WholeTurns(), "system:sys", "u1", "reply", "u2") == official


def test_the_end_of_speech_stands_once() -> None:
    """Mended: a terminator without `<|tts_eos|>` before it gets one; the published code believes its flag."""
    steps = ("u1", "reply", "ends unspoken", "u2")
    assert written(WholeTurns(), *steps).endswith(f"|{CUT}{USER}u2|")
    assert written(OfficialTurns(), "user:sys", *steps).endswith(f"|{END}{USER}u2|")


def test_a_first_unit_without_a_system_prompt() -> None:
    """Published, it is closed as a turn of its own and the next opens another; mended, it opens the person's turn."""
    assert written(OfficialTurns(), "u1", "u2") == f"{USER}u1{END}|{USER}u2|"
    assert written(WholeTurns(), "u1", "u2", "reply") == f"{USER}u1|u2|{GENERATION_PROMPT}|"


def test_messages_of_other_roles_later_on() -> None:
    """Published, they are written bare; mended, with header and end, whoever had the turn."""
    steps = ("u1", "assistant:so", "u2")
    assert written(OfficialTurns(), "user:sys", *steps) == f"{USER}sys{END}|{USER}u1|so|{USER}u2|"
    reply = f"{END}{REPLY_START}so{CUT}"
    assert written(WholeTurns(), "system:sys", *steps) == f"{USER}sys{END}|{USER}u1|{reply}|{USER}u2|"
    assert written(WholeTurns(), "u1", "system:rule") == f"{USER}u1|{END}<|im_start|>system\nrule{END}|"


def test_a_reply_to_a_closed_conversation_opens_no_second_end() -> None:
    assert written(WholeTurns(), "system:sys", "reply") == f"{USER}sys{END}|{REPLY_START}|"
