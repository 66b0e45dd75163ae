"""A vocabulary that is measured for a deployment: the checkpoint cut to it, and what its report says."""

from __future__ import annotations

from phantom_edge.bundle.manifest import TrimmedVocabulary
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import shown
from phantom_edge.progress import Step
from phantom_edge.report.report import Check, Report
from phantom_edge.runtime.verify.questions import VOCABULARY
from phantom_edge.text.vocabulary import Vocabulary, VocabularyRequest, certify_corpus, measure


def trimmed_source(
    source: Pretrained, request: VocabularyRequest, step: Step
) -> tuple[Pretrained, Vocabulary | None]:
    """The checkpoint with the pieces that are asked for; as it is, and None, where nothing is."""
    if not request.texts:
        return source, None
    vocabulary = measure(source.tokenizer, source.template, request, needed=source.needed_ids, step=step)
    step("vocabulary: cutting the tokenizer")
    return source.trimmed(vocabulary.kept_ids), vocabulary


def manifest_entry(source: Pretrained, vocabulary: Vocabulary | None) -> TrimmedVocabulary | None:
    """What a manifest says of it."""
    if vocabulary is None or source.whole is None:
        return None
    rows = source.whole.config.decoder.vocab_size
    return TrimmedVocabulary(rows, len(vocabulary.kept_ids), vocabulary.request.names)


def add_measured(report: Report, source: Pretrained, vocabulary: Vocabulary | None, step: Step) -> None:
    """Add to a verification what only an export can say: what became of the texts that it read."""
    if vocabulary is None or source.whole is None:
        return
    report.facts["vocabulary measured by"] = ", ".join(vocabulary.request.names)
    checks = report.groups.setdefault(VOCABULARY, [])
    if vocabulary.request.corpus.files:
        checks += _of_texts(source.whole, source, vocabulary, step)


def _of_texts(whole: Pretrained, source: Pretrained, vocabulary: Vocabulary, step: Step) -> list[Check]:
    corpus = vocabulary.request.corpus
    certificate = certify_corpus(whole.tokenizer, source.tokenizer, vocabulary.kept_ids, corpus, step)
    first = f"first: {shown(certificate.first)}" if certificate.differing else ""
    checks = [
        Check.at_most(
            "texts that are encoded otherwise",
            certificate.differing,
            0,
            "every piece by which a text is encoded is kept, with all that make it",
            first
            or f"of {certificate.texts}: each file, and each line by itself; {vocabulary.tokens} tokens",
        )
    ]
    held_out = vocabulary.held_out
    if held_out is None:
        return [*checks, Check("coverage of held-out lines", "not measured", detail="too few lines")]
    gone = f"{held_out.tokens - held_out.covered} of {held_out.tokens} tokens"
    detail = f"{gone} of a tenth of the lines are of no piece that the others or the presets need"
    return [*checks, Check("coverage of held-out lines", held_out.share, detail=detail)]
