"""Side-by-side measurements at the published sizes. Run as modules from the repository's root; see
README.md.
"""
