# pylint: disable=invalid-name  # a folder for readers, which is not only a package
"""The slides, and the pictures of the documentation."""
