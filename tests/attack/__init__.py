"""Hostile bundles and hostile registries, many of them: nothing may crash, hang or be believed."""
