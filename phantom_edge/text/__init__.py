"""Text and tokens: tokenizers, prompt templates, packed sequences, training triples."""
