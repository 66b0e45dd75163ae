"""The line at the end of a run that counts what was skipped for want of what."""

from needs import skipped_line


def test_skips_are_counted_by_what_is_missing():
    reasons = [
        "Skipped: needs Chromium (install it, or set CHROMIUM to its path)",
        "Skipped: needs a Swift compiler (swift.org, or `swiftlang` in Debian 13)",
        "Skipped: needs a Swift compiler (swift.org, or `swiftlang` in Debian 13)",
        "Skipped: needs the network, once: npm ci does not reach the registry (ENOTFOUND)",
    ]
    assert skipped_line(reasons) == (
        "skipped: 2 for want of a Swift compiler, 1 for want of Chromium, 1 for want of the network, once"
    )
    assert skipped_line([]) == ""
