"""The slides, and the pictures of the documentation."""

# pylint: disable=invalid-name  # a folder for readers, which is not only a package
