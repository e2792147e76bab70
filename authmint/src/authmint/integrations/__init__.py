"""Other packages that the dependency works with. Each module is imported only by those who need it."""
