"""The texts of the simulated dialogues: people's turns in clauses, what they throw in, and the assistant's replies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Split = Literal["tuning", "unseen"]
"""Nothing is ever tuned with the unseen voices and texts; those are what counts."""


@dataclass(frozen=True, slots=True)
class Clauses:
    """With what people begin, go on and end a turn; one of one clause is an ending."""

    openings: tuple[str, ...]
    middles: tuple[str, ...]
    endings: tuple[str, ...]


CLAUSES: dict[Split, Clauses] = {
    "tuning": Clauses(
        openings=(
            "I was thinking about the picture on the wall",
            "my sister told me yesterday",
            "when I came home from work",
            "there is something on the table",
            "I would like to know",
            "the other day in the kitchen",
            "could you please have a look",
            "we are planning a small trip",
            "last week I bought a new lamp",
            "so the thing is",
        ),
        middles=(
            "and then I looked at the red one",
            "because the door was open",
            "near the window with the flowers",
            "which I had never seen before",
            "on the left side of the room",
            "if it does not rain too much",
            "before we leave for the station",
            "with my brother and the children",
            "and nobody knew what it was",
            "or maybe the one behind it",
        ),
        endings=(
            "what colour do you think it is",
            "and that is how it happened",
            "can you tell me what you see",
            "so please find out the time",
            "how many people are there",
            "I think that is all I need",
            "does that look right to you",
            "tell me what I should do next",
            "and I will take the blue one",
            "what would you say about that",
        ),
    ),
    "unseen": Clauses(
        openings=(
            "yesterday my neighbour called me",
            "I have been looking for a recipe",
            "we would love to visit the museum",
            "there was a letter in the box",
            "in the corner behind the sofa",
            "this morning at the bakery",
            "I wanted to ask you something",
            "our little dog has a problem",
            "as far as I remember",
            "the screen in front of me",
        ),
        middles=(
            "but it was already too late",
            "although nobody had told us",
            "under the tree in the garden",
            "who works at the hospital",
            "between the lamp and the door",
            "unless you have a better idea",
            "after we had finished dinner",
            "together with my parents",
            "so we took the early train",
            "that I bought in the summer",
        ),
        endings=(
            "which one would you choose",
            "and now it does not work anymore",
            "could you describe it for me",
            "how long does it take to get there",
            "where should I put this",
            "and that was all I could find",
            "is there anything else I need",
            "please explain how it works",
            "I will call them tomorrow then",
            "do you have any advice",
        ),
    ),
}
FILLERS = ("um", "uh", "well", "you know")
COMMANDS = ("stop", "wait", "no", "hey")
BACKCHANNELS = ("mm hmm", "uh huh")
INTERRUPTIONS = (
    "sorry but that is not what I meant",
    "hold on I have another question",
    "can you say that again more slowly",
    "actually I would rather talk about dinner",
    "please tell me about the weather instead",
    "that is enough thank you very much",
    "what about the one on the right",
    "let me show you something else",
)
OTHERS = (
    "did you put the washing out this morning darling",
    "the bus was late again and I had to walk in the rain",
    "could somebody bring me the scissors from the drawer",
    "they said on the radio that it will be warm tomorrow",
)
SHORT_REPLIES = (
    "I see a red cup.",
    "That sounds good to me.",
    "There are three people.",
    "It is a quarter past four.",
    "I would take the blue one.",
)
LONG_REPLIES = (
    "There is a wooden table in the middle of the room, and on it I can see a red cup, two books and a small green "
    "plant. Behind the table there is a window with white curtains, and outside it looks like a sunny afternoon. On "
    "the left side somebody has put a chair with a blue jacket over its back, and next to it stands a grey suitcase.",
    "The best way to get there is to take the train from the central station and change at the second stop. From "
    "there you can either walk through the park, which takes about twenty minutes, or take the tram to the market "
    "square. If you go in the morning you will also have time to visit the museum before it gets crowded with people.",
    "First you should wash the vegetables and cut them into small pieces. Then heat some oil in a large pan, add the "
    "onions and wait until they are golden. After that put everything else into the pan, pour a little water over it "
    "and let it cook slowly for half an hour. At the end you can add salt, pepper and fresh herbs from the garden.",
)
