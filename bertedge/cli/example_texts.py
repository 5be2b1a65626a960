"""The sentences of README, help texts and ``demo``; a test checks the answers of the built-in model in int8."""

from __future__ import annotations

#: A text with a mask -> words that fit. The best word of the built-in model is one of them.
MASKED = {
    "She drank a cup of [MASK] in the kitchen.": ("coffee", "tea", "milk", "water"),
    "The ship sailed across the [MASK].": ("sea", "ocean"),
    "The president of the United [MASK] gave a speech.": ("states",),
}
FIRST = next(iter(MASKED))
#: Two sentences that follow each other, and two that do not.
FOLLOWING = ("He opened the door.", "It was dark inside.")
UNRELATED = ("He opened the door.", "Inflation is measured by the consumer price index.")
#: Questions for the built-in classifier, and their intents.
QUESTIONS = {
    "My card has not arrived.": "card_arrival",
    "The ATM kept my card. How do I get it back?": "card_swallowed",
}
