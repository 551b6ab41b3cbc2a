"""Text generation: requests join and leave one running batch between steps.

`request` what is asked; `scheduler` tokens, a step at a time; `memory` how much they may take; `sampling` the next
token; `text` tokens to text; `logprobs` how likely each was.
"""

from worker.serving.generation.memory import CacheMemory
from worker.serving.generation.request import GenerateBody
from worker.serving.generation.text_generator import Finish, GenerativeModel, Piece, Prepared, TextGenerator

__all__ = ["CacheMemory", "Finish", "GenerateBody", "GenerativeModel", "Piece", "Prepared", "TextGenerator"]
