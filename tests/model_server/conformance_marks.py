"""That an engine returns to a mark exactly, in whatever order."""

from __future__ import annotations

from tests.model_server.conformance_talk import EngineRules, NewTalk, next_outputs


class MarkRules(EngineRules):
    """Going back."""

    async def test_rollback_is_exact(self, new_talk: NewTalk) -> None:
        subject, control = await new_talk(), await new_talk()
        for talk in (subject, control):
            await talk.turn(self.case.turns[0])
        length, mark = subject.session.kv_length, subject.session.mark()
        await subject.turn(self.case.turns[1])
        await subject.write(self.case.turns[2])
        await subject.reply_until(2)
        await subject.session.rollback(mark)
        assert subject.session.kv_length == length
        assert await next_outputs(subject, self.case.turns) == await next_outputs(control, self.case.turns)

    async def test_marks_can_be_used_again_and_in_any_order(self, new_talk: NewTalk) -> None:
        subject, control = await new_talk(), await new_talk()
        for talk in (subject, control):
            await talk.turn(self.case.turns[0])
        early = subject.session.mark()
        await subject.turn(self.case.turns[1])
        late = subject.session.mark()
        after_late = await subject.turn(self.case.turns[2])
        for _ in range(2):
            await subject.session.rollback(early)
            await subject.turn(self.case.turns[3])
            await subject.session.rollback(late)
            assert await subject.turn(self.case.turns[2]) == after_late
        await subject.session.rollback(early)
        assert await next_outputs(subject, self.case.turns) == await next_outputs(control, self.case.turns)

    async def test_rollback_inside_a_turn_is_exact(self, new_talk: NewTalk) -> None:
        subject, control = await new_talk(), await new_talk()
        first, *rest = self.case.turns[0]
        for talk in (subject, control):
            await talk.write([first])
        mark = subject.session.mark()
        await subject.turn(self.case.turns[1])
        await subject.session.rollback(mark)
        for talk in (subject, control):
            await talk.write(rest)
        assert await subject.reply() == await control.reply()
        assert await next_outputs(subject, self.case.turns) == await next_outputs(control, self.case.turns)

    async def test_speculative_replies_leave_no_trace(self, new_talk: NewTalk) -> None:
        subject, control = await new_talk(), await new_talk()
        for talk in (subject, control):
            await talk.turn(self.case.turns[0])
        mark = subject.session.mark()
        for number in range(10):
            await subject.write(self.case.turns[1 + number % 3])
            await subject.reply_until(1 + number)
            await subject.session.rollback(mark)
        assert await next_outputs(subject, self.case.turns) == await next_outputs(control, self.case.turns)
