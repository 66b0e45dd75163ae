"""The demo apps: writing a complete project around a bundle, building and serving the one for the browser."""
