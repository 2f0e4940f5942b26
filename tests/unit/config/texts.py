"""Documents that mistakes are put into; the line numbers in comments are what tests count."""

HEAD = "targets:\n  shop:\n    fly: {app: shop}\n    url: https://shop.test\n"  # lines 1 to 4
PROBES = (
    HEAD
    + "    probes:\n"
    + "      health: {http: {path: /up}, interval: 5s}\n"
    + "      machines: {fly: {}}\n"
    + "      errors: {fly_edge: errors}\n"
    + "      latency: {fly_edge: latency}\n"
    + "      locks: {prometheus: {value: locks}}\n"
)  # lines 5 to 10
TRIGGERS = PROBES + "    triggers:\n"  # line 11


def signal(*keys: str, probe: str = "errors", samples: str = "min_samples: 50") -> str:
    """A trigger whose `keys` stand on lines 14 and following."""
    lines = [f"probe: {probe}", *keys, samples]
    return TRIGGERS + "      t:\n" + "".join(f"        {line}\n" for line in lines if line)
