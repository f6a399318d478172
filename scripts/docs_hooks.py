"""Pages of the site that stand elsewhere: SECURITY.md and the like, and all files of examples/.

mkdocs.yml names this file. Links are turned to where the pages are on the site.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
MOVED = ("SECURITY", "SUPPORT", "CONTRIBUTING", "CODE_OF_CONDUCT", "CHANGELOG")
LANGUAGES = {
    ".conf": "nginx", ".service": "ini", ".socket": "ini", ".yaml": "yaml", ".yml": "yaml",
    ".py": "python", "Dockerfile": "docker", "supervisord.conf": "ini", "apache.conf": "apache",
    "apache-uwsgi.conf": "apache",
}
LONG = (".json",)
"""Files that nobody reads: their names will do."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages."""
    for name in MOVED:
        text = (ROOT / f"{name}.md").read_text(encoding="utf-8")
        files.append(File.generated(config, f"{page(name)}.md", content=turned(text)))
    files.append(File.generated(config, "examples.md", content=examples()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turn links that lead out of docs/ to the pages that were added."""
    for name in MOVED:
        markdown = markdown.replace(f"](../{name}.md", f"]({page(name)}.md")
    return re.sub(r"\]\(\.\./examples/?\)", "](examples.md)", markdown)


def page(name: str) -> str:
    """The name of a page on the site."""
    return name.lower().replace("_", "-")


def turned(text: str) -> str:
    """A page of the root, with its links as they are beside those of docs/."""
    text = re.sub(r"\]\(docs/", "](", text)
    text = text.replace("](README.md)", "](index.md)")
    for name in MOVED:
        text = text.replace(f"]({name}.md", f"]({page(name)}.md")
    return text


def examples() -> str:
    """All files of examples/, each under its name."""
    parts = ["# Example files\n\nEach of them is started by a test, or held against its schema. "
             "[Deployment](deployment.md) says which to take.\n"]
    for path in sorted((ROOT / "examples").rglob("*")):
        if not path.is_file() or path.suffix in LONG:
            continue
        name = path.relative_to(ROOT / "examples").as_posix()
        language = LANGUAGES.get(path.name) or LANGUAGES.get(path.suffix, "text")
        parts.append(f"## {name}\n\n````{language}\n{path.read_text(encoding='utf-8')}````\n")
    return "\n".join(parts)
