"""Every alert leads to a section that is there."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_every_alert_has_its_section() -> None:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text(encoding="utf-8"))
    urls = [
        rule["annotations"]["runbook_url"] for group in rules["groups"] for rule in group["rules"]
    ]

    assert len(urls) >= 20
    for url in urls:
        path, _, anchor = url.partition("#")
        text = (ROOT / path).read_text(encoding="utf-8")
        titles = [t.lower().replace(" ", "-") for t in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
        assert anchor in titles, url
