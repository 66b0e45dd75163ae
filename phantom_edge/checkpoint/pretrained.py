"""A checkpoint with what its prompts need: tokenizer, template, and the token that each begins with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.checkpoint.loading import Checkpoint, resolve
from phantom_edge.files import file_sha256
from phantom_edge.text.prompt import PromptTemplate, template_for
from phantom_edge.text.tokenizer import Tokenizer, check_model_tokens

NANO = Path(__file__).parents[1] / "nano"
NANO_NAME = "phantom-nano"


@dataclass(frozen=True)
class Pretrained:
    """An opened, checked checkpoint. ``first_id`` is the token whose state the fold makes constant.

    >>> source = Pretrained.open(None)          # the embedded Phantom-Nano
    >>> source.config.decoder.type
    'qwen2'
    """

    name: str
    checkpoint: Checkpoint
    tokenizer: Tokenizer
    template: PromptTemplate
    first_id: int
    _hashes: dict[Path, tuple[tuple[int, ...], str]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, model: str | Path | None = None, *, revision: str | None = None) -> Pretrained:
        """Open a folder or Hugging Face id, None for Phantom-Nano. Raises :class:`InputError`."""
        folder = NANO if model is None or str(model) == NANO_NAME else resolve(model, revision=revision)
        checkpoint = Checkpoint.open(folder)
        config = checkpoint.config
        template = template_for(config.decoder.type)
        tokenizer = Tokenizer.from_checkpoint(folder)
        check_model_tokens(
            tokenizer,
            image_token_id=config.image_token_id,
            end_ids=config.end_ids,
            template=template,
            vocab_size=config.decoder.vocab_size,
        )
        first_id = tokenizer.encode(template.render([("?", None)]))[0]
        return cls(NANO_NAME if folder == NANO else str(model), checkpoint, tokenizer, template, first_id)

    @property
    def config(self) -> PhantomConfig:
        return self.checkpoint.config

    def sha256(self) -> dict[str, str]:
        """SHA-256 of config and weights by file name, so that a bundle can say what it was made from.

        A file is read again only when its size, time of change or inode is another than before.
        """
        files = [self.checkpoint.folder / "config.json", *self.checkpoint.files]
        return {file.name: self._sha256(file) for file in files}

    def _sha256(self, file: Path) -> str:
        stat = file.stat()
        state = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        if self._hashes.get(file, ((), ""))[0] != state:
            self._hashes[file] = state, file_sha256(file)
        return self._hashes[file][1]
