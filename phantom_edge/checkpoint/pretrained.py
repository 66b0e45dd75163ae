"""A checkpoint with what its prompts need: tokenizer, template, and the token that each begins with."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.checkpoint.hub import resolve
from phantom_edge.checkpoint.loading import Checkpoint
from phantom_edge.checkpoint.origin import EMBEDDED, FOLDER, Origin
from phantom_edge.checkpoint.refusals import refuse_bundle
from phantom_edge.checkpoint.tailored import TailoredCheckpoint, at_tile_size, with_kept_ids
from phantom_edge.errors import InputError
from phantom_edge.progress import Step, no_step
from phantom_edge.system.files import file_sha256
from phantom_edge.system.packages import BOX, FULL
from phantom_edge.system.reading import is_folder
from phantom_edge.text.prompt import PromptTemplate, template_for
from phantom_edge.text.tokenizer import Tokenizer, check_model_tokens
from phantom_edge.text.trimmed import trimmed

NANO = Path(__file__).parents[1] / "nano"
NANO_NAME = "phantom-nano"
KEPT_IDS = "kept ids"
"""What a trimmed vocabulary's hash is called among those of the files."""


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
    origin: Origin
    whole: Pretrained | None = None
    """What was trimmed to this; None where nothing was."""
    _hashes: dict[Path, tuple[tuple[int, ...], str]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(
        cls,
        model: str | Path | None = None,
        *,
        revision: str | None = None,
        local: bool = False,
        step: Step = no_step,
    ) -> Pretrained:
        """Open a folder or Hugging Face id, None for Phantom-Nano. Raises :class:`InputError`.

        ``revision`` is a branch, tag or commit of the id; with ``local`` nothing is asked of the network.
        """
        folder, origin = _place(model, revision, local, step)
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
        name = NANO_NAME if origin.kind == EMBEDDED else str(model)
        return cls(name, checkpoint, tokenizer, template, first_id, origin)

    @staticmethod
    def origin_of(name: str) -> Origin:
        """Where a name leads that stands alone, as in earlier bundles."""
        return Origin(EMBEDDED, NANO_NAME) if name == NANO_NAME else Origin.named(name)

    @classmethod
    def reopen(cls, origin: Origin) -> Pretrained:
        """Open what a bundle says that it was made from, on this machine alone: nothing is downloaded.

        Raises :class:`InputError`: it is not here, or no longer a checkpoint.

        >>> Pretrained.reopen(Pretrained.open().origin).name
        'phantom-nano'
        """
        if origin.kind == EMBEDDED:
            return cls.open()
        if origin.kind == FOLDER and not Path(origin.name).is_dir():
            raise InputError(f"{origin.name}: no such folder on this machine")
        if origin.kind == FOLDER:
            return cls.open(origin.name)
        return cls.open(origin.name, revision=origin.commit or origin.revision, local=True)

    def trimmed(self, kept: tuple[int, ...]) -> Pretrained:
        """This checkpoint with the rows of these ids alone, its tokenizer and its ids to match.

        The name and the origin stay those of the files. Raises :class:`InputError` for a tokenizer that
        cannot be trimmed, and for kept ids that are none of it, or lack one that prompts need.

        >>> source = pe.Pretrained.open()
        >>> source.trimmed(tuple(range(source.tokenizer.vocab_size))).kept_ids[:3]
        (0, 1, 2)
        """
        assert self.kept_ids is None, "kept ids are the files': a trimmed vocabulary is not trimmed again"
        size = self.config.decoder.vocab_size
        if len(set(kept)) < len(kept) or not all(0 <= index < size for index in kept):
            raise InputError(f"the kept ids are not different ones below {size}, the checkpoint's vocabulary")
        if missing := sorted(self.needed_ids - set(kept)):
            raise InputError(f"the kept ids lack {missing[0]}, which prompts or answers need")
        return replace(
            self,
            checkpoint=with_kept_ids(self.checkpoint, kept),
            tokenizer=trimmed(self.tokenizer, kept),
            first_id=kept.index(self.first_id),
            whole=self,
        )

    def at_tile(self, size: int | None) -> Pretrained:
        """The same with tiles of another size; None is the size that the checkpoint was trained with.

        Raises :class:`InputError` for a size that its patches do not give, or that is out of reach.

        >>> Pretrained.open().at_tile(128).config.tokens_per_tile
        16
        """
        return replace(self, checkpoint=at_tile_size(self.checkpoint, size))

    @property
    def needed_ids(self) -> frozenset[int]:
        """Ids that the config names, and the first of every prompt."""
        return frozenset({self.config.image_token_id, *self.config.end_ids, self.first_id})

    @property
    def kept_ids(self) -> tuple[int, ...] | None:
        """The ids of the files whose rows these are, in this order; None where all of them are."""
        checkpoint = self.checkpoint
        return checkpoint.tailoring.kept_ids if isinstance(checkpoint, TailoredCheckpoint) else None

    @property
    def config(self) -> PhantomConfig:
        return self.checkpoint.config

    @property
    def knows(self) -> str | None:
        """What the model knows, in its own sentence; None where it does not say."""
        return self.checkpoint.knows

    def sha256(self) -> dict[str, str]:
        """SHA-256 of config and weights by file name, so that a bundle can say what it was made from.

        Of a trimmed vocabulary, ``kept ids`` has that of the list, because what is computed follows from it.
        A file is read again only when its size, time of change or inode is another than before.
        """
        files = [self.checkpoint.folder / "config.json", *self.checkpoint.files]
        hashes = {file.name: self._sha256(file) for file in files}
        if self.kept_ids is not None:
            hashes[KEPT_IDS] = hashlib.sha256(json.dumps(self.kept_ids).encode()).hexdigest()
        return hashes

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of all of :meth:`sha256`."""
        return hashlib.sha256(json.dumps(self.sha256(), sort_keys=True).encode()).hexdigest()

    def _sha256(self, file: Path) -> str:
        stat = file.stat()
        state = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        if self._hashes.get(file, ((), ""))[0] != state:
            self._hashes[file] = state, file_sha256(file)
        return self._hashes[file][1]


def nano_folder() -> Path:
    """Where the embedded Phantom-Nano lies. Raises :class:`InputError` for an installation without it."""
    if not is_folder(NANO):
        raise InputError(
            f"Phantom-Nano is no part of {BOX}; give a bundle with --model, or pip install {FULL}"
        )
    return NANO


def _place(model: str | Path | None, revision: str | None, local: bool, step: Step) -> tuple[Path, Origin]:
    if model is None or str(model) == NANO_NAME:
        if revision is not None:
            raise InputError("--revision goes with a Hugging Face id; give one with --model")
        return nano_folder(), Origin(EMBEDDED, NANO_NAME)
    is_hub = not Path(model).expanduser().exists()
    folder = resolve(model, revision=revision, local=local, step=step)
    refuse_bundle(folder, str(model))
    if folder.resolve() == NANO.resolve():
        return NANO, Origin(EMBEDDED, NANO_NAME)
    return folder, Origin.of_hub(str(model), revision, folder) if is_hub else Origin.of_folder(folder)
