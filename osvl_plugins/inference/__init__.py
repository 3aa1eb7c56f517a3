"""A question asked of a checkpoint: a policy over any OpenAI-compatible server, and one run of it."""
