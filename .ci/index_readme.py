"""A build hook: the README as a package index shows it, where relative links lead nowhere."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class IndexReadme(MetadataHookInterface):
    """Makes the links of README.md absolute, to the files of the version's tag."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the README in the project's metadata."""
        files = f"{metadata['urls']['Repository']}/{{}}/v{metadata['version']}/{{}}"

        def absolute(link: re.Match[str]) -> str:
            image, label, target = link.groups()
            return f"{image}[{label}]({files.format('raw' if image else 'blob', target)})"

        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        text = re.sub(r"(!?)\[([^\]]*)\]\((?!\w+:)([^)]+)\)", absolute, text)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
