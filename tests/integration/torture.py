"""A file as people write it, and the mistakes they make in it: old text, new text, line."""

BASE = """\
version: 1

targets:
  shop:
    fly: {app: shop}
    url: https://shop.fly.dev
    mode: approve

    probes:
      health:
        http:
          path: /healthz
          expect: {status: 200}
        interval: 5s
        timeout: 2s
      machines:
        fly: {}
      edge:
        fly_edge: errors
      slowness:
        fly_edge: latency

    triggers:
      health-down:
        probe: health
        breach_when: {failing: true}
        breaches: {at_least: 4, of_last: 5}
      error-rate:
        probe: edge
        window: 2m
        breach_when: {above: 5%}
        clear_when: {below: 2%}
        for: 60s
        min_samples: 50
      slow:
        probe: slowness
        window: 5m
        breach_when: {p95: {above: 2s}}
        min_samples: 100
      deploy-failed: {deploy_failed: true}

    safety:
      watch: 1h
      cooldown: 5m
      budget: {rollbacks: 2, per: 24h}
"""

MISTAKES = [
    ("quote never closed in url", "url: https://shop.fly.dev", 'url: "https://shop.fly.dev', 6),
    ("brace never closed", "{at_least: 4, of_last: 5}", "{at_least: 4, of_last: 5", 27),
    ("missing colon after key", "    probes:\n", "    probes\n", 9),
    ("no space after colon", "mode: approve", "mode:approve", 7),
    ("equals for colon", "cooldown: 5m", "cooldown = 5m", 44),
    ("tab before key", "        window: 2m", "\twindow: 2m", 30),
    ("trailing tab", "cooldown: 5m", "cooldown: 5m\t# five\tminutes", 44),
    (
        "probe one level too far left",
        "      machines:\n        fly: {}",
        "    machines:\n        fly: {}",
        18,
    ),
    ("key one space in", "        window: 2m", "         window: 2m", 30),
    ("key indented too little", "        min_samples: 50", "       min_samples: 50", 34),
    (
        "dash list for probes",
        "      machines:\n        fly: {}",
        "      - machines:\n          fly: {}",
        16,
    ),
    ("probes as list of names", "        probe: edge", "        probe: [edge, health]", 29),
    ("probe of other case", "probe: edge", "probe: Edge", 29),
    ("probe misspelt", "probe: slowness", "probe: slownes", 36),
    ("dash in key", "at_least: 4", "at-least: 4", 27),
    ("camelCase key", "min_samples: 50", "minSamples: 50", 34),
    ("upper case key", "cooldown: 5m", "Cooldown: 5m", 44),
    ("seconds spelt out", "for: 60s", "for: 60 seconds", 33),
    ("minutes as min", "window: 2m", "window: 2min", 30),
    ("space in duration", "cooldown: 5m", "cooldown: 5 m", 44),
    ("upper-case unit", "interval: 5s", "interval: 5S", 14),
    ("decimal comma", "above: 5%", "above: '0,05'", 31),
    ("percent word", "above: 5%", "above: 5 percent", 31),
    ("bare percent number", "above: 5%", "above: 5", 31),
    ("ratio for a latency", "p95: {above: 2s}", "p95: {above: 5%}", 38),
    ("duration for a ratio", "above: 5%", "above: 2s", 31),
    ("bare seconds for latency", "p95: {above: 2s}", "p95: {above: 2}", 38),
    ("p101", "p95:", "p101:", 38),
    ("p95 on ratio probe", "breach_when: {above: 5%}", "breach_when: {p95: {above: 2s}}", 31),
    (
        "failing on ratio probe",
        "breach_when: {above: 5%}\n        clear_when: {below: 2%}",
        "breach_when: {failing: true}",
        31,
    ),
    ("above on check probe", "breach_when: {failing: true}", "breach_when: {above: 5%}", 26),
    ("greater-than sign", "{above: 5%}", "'> 5%'", 31),
    ("bare greater-than", "breach_when: {above: 5%}", "breach_when: > 5%", 31),
    ("more needed than looked at", "at_least: 4, of_last: 5", "at_least: 6, of_last: 5", 27),
    ("zero breaches", "at_least: 4", "at_least: 0", 27),
    ("negative samples", "min_samples: 50", "min_samples: -1", 34),
    ("samples as text", "min_samples: 50", 'min_samples: "50"', 34),
    ("samples as float", "min_samples: 50", "min_samples: 50.5", 34),
    ("clear above breach", "{below: 2%}", "{below: 9%}", 32),
    ("clear the wrong way", "clear_when: {below: 2%}", "clear_when: {above: 2%}", 32),
    ("duplicate trigger", "      slow:\n", "      error-rate:\n", 35),
    ("duplicate probe", "      slowness:\n", "      edge:\n", 20),
    (
        "duplicate key in flow",
        "{rollbacks: 2, per: 24h}",
        "{rollbacks: 2, per: 24h, rollbacks: 3}",
        45,
    ),
    ("timeout over interval", "timeout: 2s", "timeout: 20s", 15),
    ("status as word", "expect: {status: 200}", "expect: {status: OK}", 13),
    ("status list in text", "expect: {status: 200}", "expect: {status: '200,204'}", 13),
    ("path without slash", "path: /healthz", "path: healthz", 12),
    ("path with space", "path: /healthz", "path: /health check", 12),
    ("unicode dash", "cooldown: 5m", "cooldown: \u20135m", 44),
    ("smart quotes", "url: https://shop.fly.dev", "url: \u201chttps://shop.fly.dev\u201d", 6),
    ("non-breaking space indent", "      cooldown: 5m", "\u00a0     cooldown: 5m", 44),
    ("non-breaking space after colon", "mode: approve", "mode:\u00a0approve", 7),
    ("full-width colon", "mode: approve", "mode\uff1a approve", 7),
    ("cyrillic o in mode", "mode: approve", "m\u043ede: approve", 7),
    ("emoji trigger", "      slow:\n", "      slow🐌:\n", 35),
    ("zero-width space in name", "probe: edge", "probe: ed\u200bge", 29),
    ("windows line ends with a typo", "mode: approve", "mode: aprove", 7),
    ("old mac line ends with a typo", "mode: approve", "mode: aprove", 7),
    ("merge of unknown anchor", "      machines:\n", "      machines:\n        <<: *usual\n", 17),
    ("merge list with text", "      machines:\n", "      machines:\n        <<: [a, b]\n", 17),
    ("anchor used before it stands", "        timeout: 2s", "        timeout: *t", 15),
    (
        "anchor twice",
        "interval: 5s\n        timeout: 2s",
        "interval: &t 5s\n        timeout: *t\n        interval: 4s",
        16,
    ),
    (
        "like a target further down that is missing",
        "    mode: approve\n",
        "    mode: approve\n    like: staging\n",
        8,
    ),
    ("both url and path", "path: /healthz", "path: /healthz\n          url: https://x.dev/", 12),
    ("two conditions", "{failing: true}", "{failing: true, above: 3}", 26),
    ("failing: yes", "{failing: true}", "{failing: yes}", 26),
    ("mode in capitals", "mode: approve", "mode: Auto", 7),
    ("empty triggers", "deploy-failed: {deploy_failed: true}", "deploy-failed:", 40),
    ("unset variable", "url: https://shop.fly.dev", "url: https://${SHOP_HOST}", 6),
    ("unclosed placeholder", "url: https://shop.fly.dev", "url: https://${SHOP_HOST", 6),
    ("template braces", "url: https://shop.fly.dev", "url: {{ shop_url }}", 6),
    ("app missing", "fly: {app: shop}", "fly: shop", 5),
    ("app underscore", "fly: {app: shop}", "fly: {app: my_shop}", 5),
    ("url with ftp", "https://shop.fly.dev", "ftp://shop.fly.dev", 6),
    ("url without host", "https://shop.fly.dev", "https:///health", 6),
    ("url bad port", "https://shop.fly.dev", "https://shop.fly.dev:99999", 6),
    ("budget without per", "{rollbacks: 2, per: 24h}", "2 per day", 45),
    (
        "composite of a missing trigger",
        "deploy-failed: {deploy_failed: true}",
        "both: {all_of: [health-down, eror-rate]}",
        40,
    ),
    (
        "composite of itself",
        "deploy-failed: {deploy_failed: true}",
        "both: {all_of: [both, slow]}",
        40,
    ),
    (
        "unless a missing one",
        "        min_samples: 100",
        "        min_samples: 100\n        unless: [database-down]",
        40,
    ),
    ("json pasted with comma", "mode: approve", "mode: approve,", 7),
    (
        "git conflict",
        "    mode: approve\n",
        "<<<<<<< HEAD\n    mode: approve\n=======\n    mode: auto\n>>>>>>> main\n",
        7,
    ),
    ("comment without space", "cooldown: 5m", "cooldown: 5m# five", 44),
    ("block text by accident", "path: /healthz", "path: |\n            /healthz", 12),
    ("null by tilde", "cooldown: 5m", "cooldown: ~", 44),
    ("trigger without breach", "        breach_when: {p95: {above: 2s}}\n", "", 35),
    ("tabs in flow mapping", "{at_least: 4, of_last: 5}", "{at_least: 4,\tof_last: 5}", 27),
    ("version as text", "version: 1", 'version: "1"', 1),
    ("version v1", "version: 1", "version: v1", 1),
]
# One mistake, two places: both are named.
TWICE = {"duplicate probe", "merge list with text", "template braces", "non-breaking space indent"}
