"""`/openai/v1`: what the unmodified `openai` client speaks, over the services that `/v1` stands on.

One file a resource. Routers translate shapes and nothing else; docs/openai.md tells what is supported.
"""

from app.api.openai import chat, completions, embeddings, files, fine_tuning, models

ROUTERS = (models.router, completions.router, chat.router, embeddings.router, files.router, fine_tuning.router)
