"""Text generation: requests join and leave one running batch between steps.

`request` what is asked; `scheduler` tokens, a step at a time; `sampling` the next token; `text` tokens to text.
"""

from worker.serving.generation.request import GenerateBody
from worker.serving.generation.text_generator import Finish, GenerativeModel, Piece, Prepared, TextGenerator

__all__ = ["Finish", "GenerateBody", "GenerativeModel", "Piece", "Prepared", "TextGenerator"]
