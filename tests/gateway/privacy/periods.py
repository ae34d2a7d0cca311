"""Periods of retention, written as in the configuration."""

from __future__ import annotations

import tempfile
from pathlib import Path

from gateway.config.reader import Reader
from gateway.config.retention_settings import RetentionSettings
from gateway.config.yaml_tree import read_tree


def read_periods(text: str) -> RetentionSettings:
    """Return the section that `text`, YAML, says."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "retention.yaml"
        file.write_text(text)
        tree = read_tree(file)
        return Reader(file, credentials=None).section(RetentionSettings, tree, "")
