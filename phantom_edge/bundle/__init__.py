"""The bundle: one folder with everything that an app needs, and the manifest that describes it."""
