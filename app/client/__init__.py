"""What the demo and the smoke test do with the client. They know the HTTP API, and nothing of what is behind it."""
