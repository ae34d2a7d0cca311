"""The configuration: its definitions, the loader that names file, line and key, and the docs made from them."""
