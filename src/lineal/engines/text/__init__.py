"""Tokenizers: text to token ids and back, chat templates, stop texts, the turns of an episode."""
