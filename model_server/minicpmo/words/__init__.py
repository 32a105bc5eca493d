"""Texts: vocabularies, prompts, headers of messages, and what is spoken of a reply."""
